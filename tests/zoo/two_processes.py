"""What torchrun runs in `test_training`: a short run, whose weights the first process saves."""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from test_training import PLAN, loss, network

from lessonlib.zoo.training import train

folder = Path(sys.argv[1])
trained = train("line", network(), loss, replace(PLAN, steps=40, optimizer="muon"), runs=folder / "together")
torch.save(trained.state_dict(), folder / "together.pt")
