"""Running code that nobody trusts, and getting nothing back but numbers and short texts.

`wire` is what both sides speak; `inside` runs in the sandbox and knows no right answer; `supervisor` talks to
it and believes nothing; `walls` starts it, and `spares` keeps it between students, each of whom gets `namespaces` of
their own; `levels` says how well a machine can isolate, and proves it with `canaries`.
"""
