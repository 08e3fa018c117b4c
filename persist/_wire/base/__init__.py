"""What every grammar uses: sources with limits, extended dtypes, numbered steps."""
