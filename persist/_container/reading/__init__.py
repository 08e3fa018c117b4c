"""Reading a container: the directory of its ZIP, members checked and mapped, the graph decoded."""
