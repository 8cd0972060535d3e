"""
Everything that comes from outside, made up: items, states, templates, node configs, tool results, models' replies.

A case is made of a seed, its target's name and its number alone, so that each one can be had again. What must hold of
every case: it ends in time, in an answer with one of the contract's codes, never in an exception or an unexpected
error; and what is accepted has the right result.
"""
