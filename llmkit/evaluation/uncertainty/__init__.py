"""How sure a score is: what each row contributes to it, and the bootstrap over rows or clusters of rows."""
