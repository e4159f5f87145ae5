"""The words of the emoji world: what a caption can say, and which sprite draws it.

Everything a tiny model knows is listed here. The tables are plain data, so that the judge, the captions, the parser and
the report can never disagree about what a word means.
"""

from __future__ import annotations

import re

# noun -> icon name shared by the four art sets (Fluent 3D, Fluent flat, Fluent high contrast, Noto)
OBJECTS: dict[str, str] = {
    # animals
    "cat": "cat-face",
    "dog": "dog-face",
    "lion": "lion",
    "tiger": "tiger-face",
    "rabbit": "rabbit-face",
    "mouse": "mouse-face",
    "fox": "fox",
    "bear": "bear",
    "panda": "panda",
    "koala": "koala",
    "frog": "frog",
    "cow": "cow-face",
    "pig": "pig-face",
    "monkey": "monkey-face",
    "wolf": "wolf",
    "unicorn": "unicorn",
    "chicken": "chicken",
    "penguin": "penguin",
    "owl": "owl",
    "duck": "duck",
    "parrot": "parrot",
    "turtle": "turtle",
    "elephant": "elephant",
    "giraffe": "giraffe",
    "zebra": "zebra",
    "camel": "two-hump-camel",
    "hedgehog": "hedgehog",
    "fish": "tropical-fish",
    "shark": "shark",
    "dolphin": "dolphin",
    "whale": "spouting-whale",
    "octopus": "octopus",
    "crab": "crab",
    "butterfly": "butterfly",
    "bee": "honeybee",
    "ladybug": "lady-beetle",
    "snail": "snail",
    "dinosaur": "t-rex",
    "dragon": "dragon",
    # food
    "apple": "red-apple",
    "pear": "pear",
    "tangerine": "tangerine",
    "lemon": "lemon",
    "banana": "banana",
    "watermelon": "watermelon",
    "grapes": "grapes",
    "strawberry": "strawberry",
    "pineapple": "pineapple",
    "avocado": "avocado",
    "tomato": "tomato",
    "eggplant": "eggplant",
    "carrot": "carrot",
    "corn": "ear-of-corn",
    "mushroom": "mushroom",
    "bread": "bread",
    "cheese": "cheese-wedge",
    "hamburger": "hamburger",
    "pizza": "pizza",
    "taco": "taco",
    "birthday cake": "birthday-cake",
    "donut": "doughnut",
    "cookie": "cookie",
    "ice cream": "soft-ice-cream",
    "lollipop": "lollipop",
    "coffee": "hot-beverage",
    # vehicles
    "car": "automobile",
    "taxi": "taxi",
    "bus": "bus",
    "truck": "delivery-truck",
    "ambulance": "ambulance",
    "tractor": "tractor",
    "bicycle": "bicycle",
    "motorcycle": "motorcycle",
    "train": "locomotive",
    "airplane": "airplane",
    "helicopter": "helicopter",
    "rocket": "rocket",
    "sailboat": "sailboat",
    "flying saucer": "flying-saucer",
    # things
    "house": "house",
    "castle": "castle",
    "tent": "tent",
    "ferris wheel": "ferris-wheel",
    "umbrella": "umbrella",
    "balloon": "balloon",
    "gift": "wrapped-gift",
    "book": "closed-book",
    "backpack": "backpack",
    "top hat": "top-hat",
    "crown": "crown",
    "guitar": "guitar",
    "violin": "violin",
    "drum": "drum",
    "trumpet": "trumpet",
    "soccer ball": "soccer-ball",
    "basketball": "basketball",
    "teddy bear": "teddy-bear",
    "robot": "robot",
    "ghost": "ghost",
    "pumpkin": "jack-o-lantern",
    "snowman": "snowman",
    "alarm clock": "alarm-clock",
    "camera": "camera",
    "television": "television",
    "light bulb": "light-bulb",
    "key": "key",
    "anchor": "anchor",
    "diamond": "gem-stone",
    "trophy": "trophy",
    # sky and plants
    "star": "star",
    "heart": "red-heart",
    "sun": "sun",
    "cloud": "cloud",
    "tree": "deciduous-tree",
    "pine tree": "evergreen-tree",
    "palm tree": "palm-tree",
    "cactus": "cactus",
    "tulip": "tulip",
    "rose": "rose",
    "sunflower": "sunflower",
}

# background -> the ways a caption may put it (a place phrase, ready to follow the object)
BACKGROUNDS: dict[str, tuple[str, ...]] = {
    "meadow": ("in a meadow", "on the grass", "in a green meadow"),
    "beach": ("on the beach", "at the beach", "on a sandy beach"),
    "sunset": ("at sunset", "in front of a sunset", "under a sunset sky"),
    "night city": ("in a night city", "in a city at night", "in front of a night city"),
    "snow": ("in the snow", "on a snowy field", "in winter"),
    "desert": ("in the desert", "in a sandy desert", "among the dunes"),
    "mountains": ("in the mountains", "in front of mountains", "below the mountains"),
    "mountain sunset": (
        "at a sunset over mountains",
        "under a sunset over mountains",
        "at dusk in the mountains",
    ),
    "forest": ("in the forest", "in a green forest", "in the woods"),
    "underwater": ("under the sea", "underwater", "at the bottom of the sea"),
    "space": ("in space", "in outer space", "among the stars"),
    "room": ("in a living room", "in a room", "at home"),
    "street": ("on the street", "on a city street", "in the city"),
    "sky": ("in the sky", "in a blue sky", "among the clouds"),
    "ancient rome": ("in ancient rome", "in front of a roman temple", "among roman columns"),
    "stage": ("on a stage", "on a theatre stage", "in front of a red curtain"),
    "white": ("on a white background", "on white", "in a white studio"),
    "blue": ("on a blue background", "on blue", "in a blue studio"),
    "pink": ("on a pink background", "on pink", "in a pink studio"),
    "yellow": ("on a yellow background", "on yellow", "in a yellow studio"),
}

# how a caption names a background that nobody stands in
SCENERY: dict[str, tuple[str, ...]] = {
    "meadow": ("a meadow", "a green meadow"),
    "beach": ("a beach", "a sandy beach"),
    "sunset": ("a sunset", "a sunset over the sea"),
    "night city": ("a night city", "a city at night"),
    "snow": ("a snowy field", "a winter landscape"),
    "desert": ("a desert", "a sandy desert"),
    "mountains": ("mountains", "a mountain landscape"),
    "mountain sunset": ("a sunset over mountains", "mountains at dusk"),
    "forest": ("a forest", "a green forest"),
    "underwater": ("the bottom of the sea", "an underwater landscape"),
    "space": ("outer space", "space and stars"),
    "room": ("a living room", "an empty room"),
    "street": ("a city street", "a street"),
    "sky": ("a blue sky", "clouds in the sky"),
    "ancient rome": ("ancient rome", "a roman temple"),
    "stage": ("an empty stage", "a theatre stage"),
}

# style -> the ways a caption may put it, after a comma
STYLES: dict[str, tuple[str, ...]] = {
    "3d": ("3d style", "3d render", "in 3d style"),
    "flat": ("flat style", "flat design", "in flat style"),
    "soft": ("soft style", "soft pastel", "in soft style"),
    "ink": ("ink style", "ink drawing", "in ink style"),
    "oil painting": ("oil painting", "oil painting style", "painted in oil"),
    "pixel art": ("pixel art", "pixel art style", "in pixel art"),
}

# colour word -> hue on OpenCV's circle of 180
COLORS: dict[str, int] = {"red": 178, "orange": 11, "yellow": 25, "green": 60, "blue": 108, "purple": 140}

# objects that come in every colour
PAINTABLE: tuple[str, ...] = (
    "apple", "car", "balloon", "heart", "book", "backpack", "umbrella", "star", "tulip", "bus", "tent", "fish",
)  # fmt: skip

# objects whose one colour a caption may mention
NATURAL_COLORS: dict[str, str] = {
    "sun": "yellow",
    "lemon": "yellow",
    "banana": "yellow",
    "taxi": "yellow",
    "frog": "green",
    "pine tree": "green",
    "tree": "green",
    "cactus": "green",
    "tomato": "red",
    "strawberry": "red",
    "rose": "red",
    "crab": "red",
    "pumpkin": "orange",
    "basketball": "orange",
    "carrot": "orange",
    "tangerine": "orange",
    "whale": "blue",
    "dolphin": "blue",
    "eggplant": "purple",
    "grapes": "purple",
}

PLACES: dict[str, tuple[str, ...]] = {
    "left": ("on the left",),
    "right": ("on the right",),
    "middle": ("in the middle", "in the center"),
    "top": ("at the top",),
    "bottom": ("at the bottom",),
}

SIZES: dict[str, tuple[str, ...]] = {"small": ("small", "tiny"), "large": ("large", "big", "giant")}

RELATIONS: tuple[str, ...] = (
    "next to",
    "to the left of",
    "to the right of",
    "above",
    "in front of",
    "wearing",
)
HATS: tuple[str, ...] = ("top hat", "crown")
HAT_WEARERS: tuple[str, ...] = (
    "cat", "dog", "lion", "tiger", "rabbit", "mouse", "fox", "bear", "panda", "koala", "frog", "cow", "pig", "monkey",
    "wolf", "penguin", "owl", "teddy bear", "robot", "ghost", "pumpkin",
)  # fmt: skip

# hair (with what it says of the person) -> icon stem of the head; `noun, phrase` make the caption
HAIR: dict[str, tuple[str, str, str]] = {
    "short hair": ("man", "man", "with short hair"),
    "long hair": ("woman", "woman", "with long hair"),
    "bald": ("man-bald", "bald man", ""),
    "beard": ("man-beard", "man", "with a beard"),
    "curly hair": ("woman-curly-hair", "woman", "with curly hair"),
    "red hair": ("woman-red-hair", "woman", "with red hair"),
    "blond hair": ("man-blonde-hair", "blond man", ""),
    "white hair": ("woman-white-hair", "woman", "with white hair"),
}
SKINS: tuple[str, ...] = ("light", "medium", "dark")

OUTFITS: dict[str, tuple[str, ...]] = {
    "business suit": ("in a business suit", "wearing a business suit"),
    "superhero": ("as a superhero", "in a superhero costume"),
    "toga": ("in a toga", "wearing a toga"),
    "jeans": ("in a t-shirt and jeans", "wearing a t-shirt and jeans"),
    "dress": ("in a red dress", "wearing a red dress"),
    "raincoat": ("in a yellow raincoat", "wearing a yellow raincoat"),
    "space suit": ("in a space suit", "as an astronaut"),
    "wizard": ("as a wizard", "in a wizard robe"),
}

POSES: dict[str, tuple[str, ...]] = {
    "standing": ("standing",),
    "waving": ("waving",),
    "arms raised": ("with arms raised", "cheering"),
    "running": ("running",),
    "sitting": ("sitting",),
    "jumping": ("jumping",),
    "pointing": ("pointing to the side", "pointing"),
    "hands on hips": ("with hands on hips",),
}

# what else a prompt may say for the same thing
SYNONYMS: dict[str, str] = {
    "hat": "top hat",
    "puppy": "dog",
    "kitten": "cat",
    "automobile": "car",
    "plane": "airplane",
    "boat": "sailboat",
    "ufo": "flying saucer",
    "cake": "birthday cake",
    "flower": "tulip",
    "present": "gift",
    "football": "soccer ball",
    "tv": "television",
    "burger": "hamburger",
    "bike": "bicycle",
    "motorbike": "motorcycle",
    "grape": "grapes",
    "orange fruit": "tangerine",
}

# words of grammar that a caption or a prompt may use freely
_GLUE = (
    "a an the of and with in on at to is are picture image drawing scene portrait person people man woman showing "
    "skin glasses wearing standing style background"
)


def with_article(noun: str) -> str:
    """`cat` -> `a cat`, `apple` -> `an apple`, `grapes` -> `grapes`."""
    if noun == "grapes":
        return noun
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def words(text: str) -> list[str]:
    """The words of a prompt in lower case: letters, digits and inner hyphens."""
    return re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)*", text.lower())


def known_words() -> frozenset[str]:
    """Every word that some caption of the world can contain, and the synonyms the parser maps onto them."""
    phrases = [*OBJECTS, *COLORS, *RELATIONS, *OUTFITS, *SYNONYMS, *SKINS, _GLUE]
    for table in (BACKGROUNDS, SCENERY, STYLES, PLACES, SIZES, OUTFITS, POSES):
        phrases += [phrase for ways in table.values() for phrase in ways]
    phrases += [f"{noun} {phrase}" for _, noun, phrase in HAIR.values()]
    return frozenset(word for phrase in phrases for word in words(phrase))


def unknown_words(prompt: str) -> list[str]:
    """The prompt's words that no caption of the world contains, in order, each once: a tiny model never met them."""
    known = known_words()
    return [word for word in dict.fromkeys(words(prompt)) if word not in known]
