"""An independent judge of what a relay delivered: it reads MongoDB by itself and imports no code of mess.

`committed` records what MongoDB committed, `selection` and `runs` say what of it a relay had to deliver, `verdict`
compares that with what arrived.
"""
