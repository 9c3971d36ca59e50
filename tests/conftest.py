import torch as th

th.set_num_threads(1)  # two test processes share two cores
