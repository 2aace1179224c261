//! Following a tenant's log over HTTP, against the real program: Server-Sent Events, WebSocket, pages.

mod ends;
mod order;
mod refusals;
mod verified;
