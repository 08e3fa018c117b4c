"""MAT-files of MATLAB: level 5 (MATLAB 5 to 7) and level 4."""
