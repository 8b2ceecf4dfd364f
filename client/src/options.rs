//! How a client connects and how long it waits.
use std::time::Duration;

/// Settings of a [`Client`](crate::Client); [`Default`] suits a server on the same network.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Longest a call may take, retries included; also sent to the server, which gives up work
    /// past it. `None`: no limit. Does not bound a stream once it is open. Default: 30 s.
    pub timeout: Option<Duration>,
    /// Longest a connection may take to come about. Default: 5 s.
    pub connect_timeout: Duration,
    /// Largest message sent or received, bytes. Default: 16 MiB, as the server's.
    pub message_bytes_max: usize,
    /// How often a read is tried again while the server is unavailable. Mutations are never
    /// tried again. Default: 3.
    pub read_retries: u32,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            timeout: Some(Duration::from_secs(30)),
            connect_timeout: Duration::from_secs(5),
            message_bytes_max: 16 * 1024 * 1024,
            read_retries: 3,
        }
    }
}
