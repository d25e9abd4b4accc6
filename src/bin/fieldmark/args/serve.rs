//! What can be typed after `fieldmark serve`.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, builder::RangedU64ValueParser};

use super::shared::ModelArgs;

/// Open a page on your own machine where you drop a photo, type, and the map follows
///
/// The page and its HTTP API (/api/v1/openapi.json) are served by this program alone, to this machine alone unless --host
/// is given. Photos that you drop are kept in memory and never written. Ctrl-C ends it.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ServeArgs {
    /// Photos and directories that the page offers; no other file is ever read
    #[arg(value_name = "PHOTO")]
    pub photos: Vec<PathBuf>,

    /// The port to listen on; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0, help_heading = "Server")]
    pub port: u16,

    /// Do not open the page in a browser
    #[arg(long, help_heading = "Server")]
    pub no_open: bool,

    /// Listen on another address, such as 0.0.0.0, and demand a token [default: 127.0.0.1]
    ///
    /// The address that is printed holds the token. The connection is not encrypted: use it in a network that you trust, or
    /// through an SSH tunnel, which needs no --host.
    #[arg(long, value_name = "ADDRESS", help_heading = "Server", hide_short_help = true)]
    pub host: Option<IpAddr>,

    /// Demand this token rather than a random one; it also works without --host
    ///
    /// Other users can see the arguments of a program: the environment variable FIELDMARK_TOKEN is safer.
    #[arg(long, value_name = "TOKEN", help_heading = "Server", hide_short_help = true)]
    pub token: Option<String>,

    /// MiB of memory for photos and their passes through the model; those not used for longest are dropped
    #[arg(long, value_name = "MIB", default_value_t = 1024, help_heading = "Server", hide_short_help = true,
          value_parser = RangedU64ValueParser::<u64>::new().range(16..=1 << 20))]
    pub memory: u64,

    /// Refuse images with more pixels than this before they are decoded
    #[arg(
        long,
        value_name = "PIXELS",
        default_value_t = 50_000_000,
        help_heading = "General",
        hide_short_help = true
    )]
    pub pixel_limit: u64,

    #[command(flatten)]
    pub model: ModelArgs,
}

const EXAMPLES: &str = "\
Examples:
  fieldmark serve                                  # then drop photos onto the page
  fieldmark serve pictures/ --model miniature
  fieldmark serve --port 8080 --no-open            # on a server; then `ssh -L 8080:localhost:8080 server`";
