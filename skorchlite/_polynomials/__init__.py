"""Terms of polynomials, the bases they are fitted in, and exact changes between these."""
