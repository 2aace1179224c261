//! Tests of the HTTP face over real TCP sockets: the server is bound to a free port, the client writes bytes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod body;
mod connections;
mod laws;
mod logs;
mod order;
mod requests;
mod routes;
mod streams;
mod support;
