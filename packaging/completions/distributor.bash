# The program knows best.
eval "$(distributor completions bash)"
