"""What is asked of the interpreter: the garbage collector, plug-ins, lazily compiled expressions."""
