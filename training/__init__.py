"""Training: trials to tokens, continued pretraining, meta-RL over whole trials, and evaluation against the optimum.

`arms.learn` runs it all for several seeds beside its controls. Needs torch, transformers, tokenizers, numpy, pyarrow.
"""
