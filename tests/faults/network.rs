//! Networks that split, slow down and lose.
