"""How long tests wait for what they expect: longer than any load of the machine makes it take."""

#: In seconds. What never comes costs a failing test this much, and a passing one nothing.
PATIENCE_S = 120.0
