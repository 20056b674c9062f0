"""Tasks → trials: a strategy lets an engine try an environment's task again and again, and writes down what happened.

`protocols` holds the contracts; `environments/` the worlds, `engines/` what answers, `strategies/` what is tried,
`sandboxes/` where untrusted code runs. `runner` plays many trials at once, `synth` is the stage that stores them.
"""
