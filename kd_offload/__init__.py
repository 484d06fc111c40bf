"""Knowledge distillation for mobile edge computation offloading: the paper, and nothing else.

H. Chen, L. Zeng, S. Yu, X. Chen, "Knowledge Distillation for Mobile Edge Computation Offloading",
arXiv 2004.04366 (2020). Read the modules in this order:

graphs   task graphs: which subtasks there are and what feeds what
tasks    what a task vector holds, how random ones are drawn and checked
delay    when a task's result arrives, given a placement
labels   the exact placement of least delay
data     labelled tasks, generated in parallel
model    a trained network, and how it decides
distill  imitation learning of the teacher, distillation of the student

Names of `data`, `model` and `distill` are imported from there, since they bring torch and joblib.
"""

from .graphs import LOCATIONS, TaskGraph, chain, dag, fusion
from .labels import Labelled, Solution, TooLarge, search, solve
from .tasks import STATE, Ranges, feature_names, sample_tasks

__version__ = "2.0.0"
