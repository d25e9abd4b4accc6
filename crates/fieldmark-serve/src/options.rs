//! Where a server listens, what it shows and its bounds.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

use fieldmark_model::photo::PhotoOptions;

/// Where a server listens, what it shows, and its bounds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServeOptions {
    /// The address to listen on; the loopback address unless said otherwise.
    pub host: IpAddr,
    /// The port; 0 for a free one.
    pub port: u16,
    /// What clients must send, as `Authorization: Bearer` or once as `?token=`. None: everybody who reaches the address
    /// may ask. [`Server::bind`](crate::Server::bind) makes one up for an address that is not a loopback address.
    pub token: Option<String>,
    /// Photos that the page offers, in this order: only these files are ever opened.
    pub photos: Vec<PathBuf>,
    /// How photos are decoded: the pixels of uploads and files are bounded by it.
    pub photo: PhotoOptions,
    /// Bytes for decoded photos and their passes through the vision tower; the least recently used are dropped.
    pub memory: u64,
    /// Bytes of a request with a photo.
    pub upload_bytes: usize,
    /// Prompts of one question.
    pub prompts: usize,
    /// Characters of a prompt.
    pub prompt_length: usize,
    /// How far the model's resolution can be multiplied along each side.
    pub detail: f64,
    /// Questions that are worked on at once.
    pub workers: usize,
    /// Questions that wait; more are answered with 429.
    pub queue: usize,
    /// Uploads that are received at once; more are answered with 429.
    pub uploads: usize,
    /// Open connections; more wait to be accepted.
    pub connections: usize,
    /// How long a request may take before it is answered with 504.
    pub timeout: Duration,
    /// What the command line of the checkpoint was, for the command that gives the same result.
    pub model_arguments: Vec<String>,
}

fieldmark_model::setters!(ServeOptions {
    host: IpAddr,
    port: u16,
    token: Option<String>,
    photos: Vec<PathBuf>,
    photo: PhotoOptions,
    memory: u64,
    upload_bytes: usize,
    prompts: usize,
    prompt_length: usize,
    detail: f64,
    workers: usize,
    queue: usize,
    uploads: usize,
    connections: usize,
    timeout: Duration,
    model_arguments: Vec<String>,
});

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            token: None,
            photos: Vec::new(),
            photo: PhotoOptions::default().pixel_limit(50_000_000),
            memory: 1 << 30,
            upload_bytes: 64 << 20,
            prompts: 64,
            prompt_length: 1000,
            detail: 3.0,
            workers: 2,
            queue: 32,
            uploads: 4,
            connections: 256,
            timeout: Duration::from_secs(120),
            model_arguments: Vec::new(),
        }
    }
}
