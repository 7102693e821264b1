# The program knows best.
distributor completions fish | source
