//! counterfoil
