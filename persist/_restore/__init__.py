"""Load arrays of a file into existing objects: mappings, objects, torch modules, Keras models.

`targets` lists the arrays that can be filled and writes into them; `match` pairs them with the arrays
of the file by name, order, shape or rules, checks shapes and dtypes of all pairs before the first
array is touched, and returns a `Report`. `keras_weights` knows the names that the weights of a network
had in each release, `keras_kernels` how their axes and gates were laid out.
"""
