"""The questions of "predict, then run": kept here, so that the cell that asks does not show the answer.

In a notebook:

    from lessonlib.lessons import ask

    ask("06_optimisation.network")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lessonlib.errors import LessonError

if TYPE_CHECKING:
    from lessonlib.widgets.quizzes import Quiz


class Question(NamedTuple):
    """`answer` is the index of the right choice; `why` is told once the reader has chosen. Words in Markdown."""

    question: str
    choices: tuple[str, ...]
    answer: int
    why: str


QUESTIONS = {
    "01_sdxl.vae": Question(
        "A picture of 512×512 pixels goes through Stable Diffusion 1.5's VAE. Which shape have its latents?",
        ("3 × 64 × 64", "4 × 64 × 64", "4 × 128 × 128", "8 × 64 × 64"),
        answer=1,
        why="Three of its blocks halve both sides: 2³ = 8. The 4 that is often called its factor counts the channels.",
    ),
    "01_sdxl.pooled": Question(
        "The pooled vector says the whole prompt in one vector. What is it?",
        (
            "the mean of all 77 states of both encoders",
            "one state of the first encoder",
            "one state of the second encoder, projected",
            "the last column of the states side by side",
        ),
        answer=2,
        why="It is the second encoder's own summary, made as in CLIP's training; the first one's is never used.",
    ),
    "01_sdxl.handover": Question(
        "`num_inference_steps=40` in **both** calls, `denoising_end=0.8` and `denoising_start=0.8`. "
        "How many steps do the two calls take?",
        ("40 and 40", "32 and 40", "40 and 8", "32 and 8"),
        answer=3,
        why="40 is the length of the whole schedule, of which each call walks only its own part.",
    ),
    "01_sdxl.defaults": Question(
        "How much do these six numbers change the picture, compared with leaving all three arguments out?",
        ("it becomes sharper", "the subject moves to the middle", "a little, everywhere", "not at all"),
        answer=3,
        why="What is left out is filled in with just these values, so the UNet gets the same six numbers.",
    ),
    "01_sdxl.small": Question(
        "`height` and `width` stay as they are; `original_size` is a **quarter** of them. What comes?",
        ("a smaller picture", "a blurred picture of the usual size", "a small subject", "an error"),
        answer=1,
        why="In training, such pictures had been enlarged four times, and that is what the model has learned to expect.",
    ),
    "01_sdxl.negative": Question(
        "You pass `negative_original_size=(256, 256)` and nothing else that begins with `negative`. What happens?",
        (
            "guidance leads away from small originals",
            "an error: its partner is missing",
            "nothing at all",
            "the picture becomes blurred",
        ),
        answer=2,
        why="diffusers uses the negative sizes as a set, and quietly falls back to the positive ones if a part is missing.",
    ),
    "01_sdxl.shape": Question(
        "The tiny SDXL saw squares in four of ten batches, and each of two other shapes in three. Over hundreds of "
        "pictures, where are the fewest objects right?",
        ("in the square", "in the wide and the high shape", "it makes no difference"),
        answer=1,
        why="All three have about as many pixels, but a thing's size goes by the shorter side: there it is drawn smaller. "
        "Even the VAE alone, which only encodes and decodes real scenes, keeps 89 % of such things, in the square 98 %.",
    ),
    "02_controlnet.edges": Question(
        "Given are the **edges** of a drawn lion at the right, and the prompt “a lion on the beach, oil painting”. "
        "What comes?",
        (
            "the drawn picture again, colours and all",
            "an oil painting, with a lion wherever the noise has it",
            "an oil painting, with the lion where the drawn one stands",
        ),
        answer=2,
        why="Edges tell where lines are, and of no colour or material. All of that is left to the prompt.",
    ),
    "02_controlnet.array": Question(
        "You pass what `cv2` gives you, an array of `(height, width, 3)`, as `image=`. What does the pipeline do?",
        (
            "it works as with a PIL picture",
            "it stops with an error about batch sizes",
            "it makes a picture, but a wrong one",
        ),
        answer=1,
        why="An array's first axis is taken for the number of pictures, and that is not the number of prompts.",
    ),
    "02_controlnet.blocks": Question(
        "One prediction of the frozen UNet, with a ControlNet beside it. Which of its blocks compute something else?",
        ("all of them", "down blocks and middle", "the middle and the up blocks", "the up blocks alone"),
        answer=3,
        why="The additions meet the skips after they have left the way down, and the middle's output after the middle.",
    ),
    "02_controlnet.gradient": Question(
        "Counted from 1: in which step of training does the **copy** get its first gradient that is not zero?",
        ("in step 1", "in step 2", "in step 3", "never: zero times anything is zero"),
        answer=1,
        why="Step 1 moves the zero convolutions. From then on their weights are not zero, and gradients pass through.",
    ),
    "02_controlnet.pose": Question(
        "You have a photo of a friend and want **somebody else**, in other clothes, elsewhere, with the same gesture. "
        "Which map?",
        ("canny", "depth", "segmentation", "pose"),
        answer=3,
        why="The others hold the outline of hair, clothes and surroundings as well; the pose holds joints and no more.",
    ),
    "02_controlnet.window": Question(
        "Control may act during **half** of the steps. In which half do the pictures follow the edges better?",
        ("in the first", "in the second", "it makes no difference"),
        answer=0,
        why="Places and outlines are settled early. What is settled, late control can hardly move.",
    ),
    "02_controlnet.scales": Question(
        "Two ControlNets, and by mistake `controlnet_conditioning_scale=[1.0]`, a list with **one** number. What happens?",
        (
            "an error: the lengths differ",
            "both act at 1.0",
            "the second acts at its default, 1.0",
            "the second does not act at all",
        ),
        answer=3,
        why="diffusers zips networks and scales together, and `zip` ends with the shorter of the two.",
    ),
    "02_controlnet.rate": Question(
        "The same minutes for each: which of the three runs is the **last** to follow the edges?",
        ("zero", "random", "slow zeros"),
        answer=2,
        why="A convolution that starts at zero has a long way to go, at a careful rate that suits trained weights.",
    ),
    "02_controlnet.paper": Question(
        "You hand a pencil drawing, **dark lines on white paper**, to the scribble ControlNet. What do you get?",
        (
            "an error",
            "the same picture as for white lines on black",
            "a picture that hardly follows the drawing",
        ),
        answer=2,
        why="The network takes what is white for lines: it sees a sheet that is drawn on everywhere but there.",
    ),
    "03_ip_adapter.crop": Question(
        "The reference is twice as wide as high, and the dog stands at its left edge. What does the adapter know of it?",
        (
            "as much as of everything else",
            "it sees it squashed",
            "nothing",
            "the pipeline stops with an error",
        ),
        answer=2,
        why="CLIP's preprocessing scales the shorter side and cuts the middle out of the longer one.",
    ),
    "03_ip_adapter.text": Question(
        "The scale λ is 1. What has become of the **text's own** attention, $Z$?",
        ("it is switched off", "it counts half", "nothing: it is what it was without an adapter"),
        answer=2,
        why="λ stands before the picture's term alone. No factor takes anything away from the words.",
    ),
    "03_ip_adapter.share": Question(
        "“in a night city”: four words, and 73 tokens of marks and padding. Which share of the text's attention do the "
        "**four words** get?",
        ("about 95 %", "about 50 %", "about 5 %"),
        answer=2,
        why="Most of it goes to tokens that name nothing, on which a place that wants no word can rest.",
    ),
    "03_ip_adapter.batch": Question(
        "Two prompts in one call, and `ip_adapter_image=[[a, b]]`. Which reference does the **first** prompt see?",
        ("a", "b", "both", "the call fails"),
        answer=2,
        why="The inner list holds the references of one adapter, and every prompt of the call is given all of them.",
    ),
    "03_ip_adapter.recipe": Question(
        'You use `{"up": {"block_0": [0.0, 1.0, 0.0]}}`, made for SDXL, with SD 1.5, whose first block on the way up has '
        "no attention. What happens?",
        (
            "an error names the block",
            "a warning, and scale 1 everywhere",
            "the nearest block is taken",
            "the adapter is off, and nothing says so",
        ),
        answer=3,
        why="Blocks that are not named get 0, and a name that fits no block is passed over.",
    ),
    "03_ip_adapter.face": Question(
        "The face adapter is given the **whole picture** instead of the face. How many of hair, skin and glasses arrive?",
        (
            "about as many as a stranger shares",
            "as many as with the face alone",
            "more: it sees more of the person",
        ),
        answer=0,
        why="It learned from faces that fill the picture, and in a whole person the face is a few patches.",
    ),
    "03_ip_adapter.forgotten": Question(
        "The adapter is loaded, and a call passes **no reference**. What happens?",
        ("it draws from the words alone", "it uses the last reference again", "an error"),
        answer=2,
        why="As long as an adapter is in it, the UNet asks for image embeddings, and finds none.",
    ),
    "03_ip_adapter.second": Question(
        "The pipeline has the base adapter. You call `load_ip_adapter` again, for plus. Which does it have now?",
        ("base", "plus", "both, each with its own scale"),
        answer=1,
        why="Loading builds the second attention of every layer anew. Several adapters go into one call, as lists.",
    ),
    "04_fast_sampling.leading": Question(
        "One step with the “leading” timesteps that Stable Diffusion was published with. At which $t$ is that step?",
        ("999, pure noise", "500, the middle", "1, nearly the picture"),
        answer=2,
        why="“Leading” cuts the timesteps into equal stretches and takes the *first* of each. One stretch begins at 0.",
    ),
    "04_fast_sampling.constant": Question(
        "You train a network **only** to give the same answer at all points of a path. What is the easiest way to do "
        "that perfectly?",
        (
            "to learn where the path ends",
            "to return its input",
            "to answer always the same, whatever it sees",
        ),
        answer=2,
        why="A constant is self-consistent. The boundary condition forbids it: at t = 0 the answer has to be the input.",
    ),
    "04_fast_sampling.noise": Question(
        "Four steps of LCM-LoRA, twice from the **same** starting noise, with two random generators. The same picture?",
        ("yes: the noise at the start decides", "no", "only with guidance"),
        answer=1,
        why="After every answer but the last, fresh noise is added, and that comes from the generator.",
    ),
    "04_fast_sampling.passes": Question(
        "LCM-LoRA, 4 steps, `guidance_scale=1.5`: how many passes?",
        ("4", "6", "8"),
        answer=2,
        why="Above 1 every step asks twice, with the prompt and without. How far above makes no difference to the price.",
    ),
    "04_fast_sampling.negative": Question(
        "LCM-LoRA at `guidance_scale=1.0`, with a negative prompt. What does it change?",
        ("nothing", "it acts weakly", "an error says that it needs guidance"),
        answer=0,
        why="At 1 there is no second pass, and the negative prompt has no other place where it is read.",
    ),
    "04_fast_sampling.saves": Question(
        "Which saves more of a four-step picture of the tiny model: taesd, or fusing the LoRA?",
        ("taesd", "fusing the LoRA", "both the same"),
        answer=1,
        why="Most of the time goes into the UNet, and the loose LoRA computes beside its layers in every pass. The "
        "decoder runs once.",
    ),
    "04_fast_sampling.untold": Question(
        "One student, targets made with every w from 2 to 5, and nobody tells it which. What does it learn?",
        ("to ignore guidance", "something in the middle of the range", "the strongest guidance"),
        answer=1,
        why="For one input it has one answer, and the distance to many targets is smallest in their middle.",
    ),
    "05_editing_and_prompts.size": Question(
        "A wide picture goes in, and the call says nothing of `height` and `width`. What comes out?",
        (
            "the same size",
            "a square cut out of the middle",
            "the whole picture, squashed to a square",
            "an error",
        ),
        answer=2,
        why="The inpainting pipeline takes the size its UNet was trained at and scales picture and mask to it.",
    ),
    "05_editing_and_prompts.channels": Question(
        "The UNet runs once a step. How many of its nine input channels **change** from one step to the next?",
        ("1", "4", "5", "9"),
        answer=1,
        why="Only the noisy latents are denoised. The mask and the masked picture are encoded once, before the first step.",
    ),
    "05_editing_and_prompts.outside": Question(
        "Where the mask is black, are the pixels of the pipeline's picture exactly those of the original?",
        ("yes, all of them", "yes, but for a rim along the mask", "no, most of them differ a little"),
        answer=2,
        why="What comes out was decoded from latents, and no picture comes through the VAE unchanged.",
    ),
    "05_editing_and_prompts.fill": Question(
        "Same seed, `strength=1`: you fill the empty part of the canvas with **white** instead of grey. What changes?",
        ("the painted part becomes brighter", "the edge to the old picture shows", "nothing at all"),
        answer=2,
        why="That part starts from pure noise, and what the UNet is shown of the picture has a hole there.",
    ),
    "05_editing_and_prompts.strength": Question(
        "25 steps at strength 0.3 with DDIM: how many times does the UNet run?",
        ("7", "8", "18", "25"),
        answer=0,
        why="25 times 0.3 is 7.5, and half a step does not exist: it is rounded down.",
    ),
    "05_editing_and_prompts.a1111": Question(
        "You give compel the prompt `a (red:1.5) apple`. What happens?",
        ("red counts 1.5 times", "an error", "a warning, and red counts once", "the `:1.5` is read as words"),
        answer=3,
        why="Whatever compel does not know as a weight is text, so colon and digits go to the text encoder like a word.",
    ),
    "05_editing_and_prompts.by_step": Question(
        "The first half of the steps sees the cat's prompt, the second half the dog's. What does the judge see?",
        ("a cat", "both", "a dog"),
        answer=2,
        why="Places and colours come first, and both prompts agree on them. The shape comes later, in the dog's half.",
    ),
    "05_editing_and_prompts.no": Question(
        "You add “no oil painting” to prompts that name no style. How many oil paintings come?",
        ("fewer than before", "as many as before", "more than before"),
        answer=2,
        why="The text encoder reads “oil painting”, and hardly what “no” does to it. You have named a style.",
    ),
    "05_editing_and_prompts.none": Question(
        'In **SDXL**, does `negative_prompt=None` do the same as `negative_prompt=""`?',
        (
            "yes: both encode the empty prompt",
            "no: with `None`, guidance is off",
            "no: `None` stands for zeros",
            "no: `None` is an error",
        ),
        answer=2,
        why="Its settings ask for it, `force_zeros_for_empty_prompt`: zeros on both paths. The empty string is encoded.",
    ),
    "06_optimisation.network": Question(
        "Which of the three networks holds the most **activations** at once?",
        ("the text encoder", "the UNet", "the VAE's decoder"),
        answer=2,
        why="It works on pixels: its maps have 64 times as many places as those of the UNet, which works on latents.",
    ),
    "06_optimisation.weights": Question(
        "The real Stable Diffusion 1.5 comes in four networks. Which is the largest **after** the UNet?",
        ("the text encoder", "the VAE", "the safety checker"),
        answer=2,
        why="It holds a whole encoder of pictures, larger than the encoder of texts, and makes none itself. "
        "`safety_checker=None` leaves it out.",
    ),
    "06_optimisation.size": Question(
        "You double both sides of the picture. How many times the **activations** does the decoder hold at its peak?",
        ("the same", "2 times", "4 times", "16 times"),
        answer=2,
        why="Only the places change, and twice the height and twice the width make four times the places.",
    ),
    "06_optimisation.vae": Question(
        "You want **one** large picture. Which of the two lowers the peak?",
        ("slicing", "tiling", "both", "neither"),
        answer=1,
        why="Slicing cuts a batch into pictures, and a single picture is a batch of one: there is nothing to cut.",
    ),
    "06_optimisation.attention": Question(
        "On PyTorch 2, what does `pipe.enable_attention_slicing()` do to the UNet's peak for a large picture?",
        ("it becomes less than half", "it becomes a little less", "nothing", "it rises"),
        answer=3,
        why="It replaces SDPA, which stores no scores at all, by a loop that stores those of some heads.",
    ),
    "06_optimisation.layout": Question(
        "You store the UNet's weights channels-last. What happens to the noise that it predicts?",
        ("it is another one, about as good", "it is the same but for rounding", "its channels are mixed up"),
        answer=1,
        why="Only the order in memory changes, not which numbers are multiplied. At most, sums are made in another order.",
    ),
    "06_optimisation.offload": Question(
        "SDXL with model offload fits some card. You switch VAE tiling on **as well**. What happens to the peak?",
        ("it falls again: the two savings add up", "nothing", "it rises"),
        answer=1,
        why="With model offload the highest hump is the UNet's with its weights. The VAE's lies below it already.",
    ),
    "07_capstone.paper": Question(
        "The sketch is dark pencil on white paper. You pass it as it is, without turning it. What does the pipeline say?",
        (
            "an error: not a control map",
            "a warning",
            "nothing: it draws, and the lines lead it less or astray",
        ),
        answer=2,
        why="A control map is three channels from 0 to 1, and white paper is such a map: a scene that is lines everywhere.",
    ),
    "07_capstone.weights": Question(
        "Which of the three changes numbers in the UNet's **own** matrices?",
        ("ControlNet", "IP-Adapter", "LCM-LoRA", "none of them"),
        answer=2,
        why="A LoRA is a difference of the weights that are there. The other two bring networks and matrices of their own.",
    ),
    "07_capstone.forgotten": Question(
        "The adapter's scale is 0, and the call has no `ip_adapter_image`. What happens?",
        ("it draws from the prompt alone", "it takes the last reference again", "an error"),
        answer=2,
        why="With an adapter in it the UNet asks for image embeddings; the scale comes after they were read.",
    ),
    "07_capstone.price": Question(
        "Ten steps at guidance 4, or four at guidance 1. How many times the UNet evaluations does the first cost?",
        ("2.5 times", "4 times", "5 times", "10 times"),
        answer=2,
        why="Ten guided steps are 20 evaluations, and four unguided ones are 4.",
    ),
    "07_capstone.chance": Question(
        "Without the face adapter nobody says who it is. Which share of hair, skin and glasses is the photo's **all the "
        "same**?",
        ("none", "about one in ten", "about a third", "more than half"),
        answer=2,
        why="Eight sorts of hair, three colours of skin, glasses or none: guessing gets about (1/8 + 1/3 + 1/2) / 3.",
    ),
    "07_capstone.louder": Question(
        "The face adapter's scale goes up from 0.6 to 1.5. Which measure may fall, because the text is heard less?",
        ("layout", "prompt", "the number of evaluations"),
        answer=1,
        why="The second attention adds to the text's; the louder it is, the smaller is the text's share of the sum.",
    ),
}


def ask(name: str) -> Quiz:
    """The question called `name`, as a widget that keeps the reader's choice and then tells why.

    Raises:
        LessonError: there is no such question.
    """
    from lessonlib.widgets import quiz

    if name not in QUESTIONS:
        raise LessonError(
            f"There is no question '{name}': lessonlib/lessons/questions.py lists those there are."
        )
    asked = QUESTIONS[name]
    return quiz(name, asked.question, list(asked.choices), asked.answer, asked.why)
