//! Nothing: the end-to-end tests are one binary, `tests/e2e`.
