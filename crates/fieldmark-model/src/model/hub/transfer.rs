//! Fetches one file over however many connections it takes, and goes on where the last one stopped.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use super::answer::{Failure, Remote, Repository, network};
use super::client::{Client, Contents};
use super::store::{BlobPaths, writing};
use crate::error::{Error, Result};
use crate::progress::Event;

/// How much of what is there is fetched again: the client of the Hub does not say whether the server kept to the part
/// that it was asked for, but these bytes do.
const OVERLAP: u64 = 64 << 10;
/// The largest file that is fetched without the server having said how large it is.
const MAX_UNANNOUNCED: u64 = 64 << 20;

/// One file that is being fetched.
pub(super) struct Transfer<'a> {
    pub(super) client: &'a Client<'a>,
    pub(super) repository: Repository<'a>,
    /// Its name in the repository.
    pub(super) file: &'a str,
    /// Its name in events.
    pub(super) name: &'a str,
    pub(super) remote: &'a Remote,
    pub(super) paths: &'a BlobPaths,
    /// How far the receiver of the events believes the file to be.
    pub(super) announced: Option<u64>,
}

/// Where received bytes go.
struct Receiver<'t, 'a> {
    transfer: &'t mut Transfer<'a>,
    partial: File,
    /// What the server must repeat before it sends anything new.
    overlap: Vec<u8>,
    /// Bytes of the overlap that came.
    repeated: usize,
    /// Where in the file the next new byte belongs.
    at: u64,
    limit: u64,
}

impl Transfer<'_> {
    /// Fetches what is missing over one connection.
    pub(super) fn attempt(&mut self) -> Result<(), Failure> {
        let mut have = self.paths.partial_length();
        if self.remote.size.is_some_and(|size| have > size) {
            self.paths.discard()?;
            have = 0;
        }
        if self.remote.size == Some(have) && have > 0 {
            self.announce(have);
            return Ok(());
        }
        let from = if self.remote.size.is_some() { have.saturating_sub(OVERLAP) } else { 0 };
        let contents = match self.open(from) {
            Err(Failure::Range { .. }) => {
                self.paths.discard()?;
                return Err(self.passing(format!("the server has nothing from byte {from} on")));
            }
            opened => opened?,
        };
        let from = self.check_part(&contents, from)?;
        self.receive(contents, from)
    }

    fn open(&self, from: u64) -> Result<Contents, Failure> {
        let range = self.remote.size.filter(|_| from > 0).map(|size| from..size);
        match self.remote.xet {
            None => self.client.open(self.repository, self.file, range),
            Some(_) => self.client.open_plain(self.repository, self.file, range),
        }
    }

    /// Where the contents begin, according to the server.
    fn check_part(&self, contents: &Contents, from: u64) -> Result<u64, Failure> {
        let start = contents.start.unwrap_or(from);
        if start != from && start != 0 {
            self.paths.discard()?;
            return Err(self.another_part());
        }
        match (self.remote.size, contents.length) {
            (Some(size), Some(found)) if found != size && found != size - start => {
                self.paths.discard()?;
                let reason = format!("the file has {found} bytes, expected {size}");
                Err(network(&self.url(), reason).into())
            }
            _ => Ok(start),
        }
    }

    /// Appends what arrives to the partial file, which then ends at the last byte that arrived.
    fn receive(&mut self, contents: Contents, from: u64) -> Result<(), Failure> {
        let path = self.paths.partial.clone();
        let mut partial = self.paths.open_partial(from > 0)?;
        let overlap = if from > 0 { self.read_from(&mut partial, from)? } else { Vec::new() };
        if from == 0 {
            self.announce(0);
        }
        let total = self.remote.size.or(contents.length);
        let is_framed = contents.length.is_some();
        let (client, repository, url) = (self.client, self.repository, self.url());
        let at = from + overlap.len() as u64;
        // One byte more than expected is enough to see that a body is too long.
        let limit = total.unwrap_or(MAX_UNANNOUNCED).saturating_add(1);
        let mut receiver = Receiver { transfer: self, partial, overlap, repeated: 0, at, limit };
        let ended = client.read(&url, repository, contents.body, &mut |piece| receiver.take(piece));
        let at = receiver.at;
        // Some file systems say only now that the disk is full.
        receiver.partial.sync_all().map_err(writing(&path))?;
        ended?;
        self.judge_end(at, from, total, is_framed)
    }

    /// What the end of a body means; a connection that broke before the announced end was an error already.
    fn judge_end(&self, at: u64, from: u64, total: Option<u64>, is_framed: bool) -> Result<(), Failure> {
        let url = self.url();
        match total {
            Some(total) if at < total && is_framed => {
                self.paths.discard()?;
                let reason = format!("received {at} bytes, expected {total}");
                if from == 0 { Err(network(&url, reason).into()) } else { Err(self.passing(reason)) }
            }
            Some(total) if at < total => {
                Err(self.passing(format!("the connection ended at byte {at} of {total}")))
            }
            None if at > MAX_UNANNOUNCED => {
                self.paths.discard()?;
                let reason =
                    format!("the file has more than {MAX_UNANNOUNCED} bytes, and its size was not given");
                Err(network(&url, reason).into())
            }
            _ => Ok(()),
        }
    }

    fn read_from(&self, partial: &mut File, from: u64) -> Result<Vec<u8>> {
        let mut tail = Vec::new();
        match partial.seek(SeekFrom::Start(from)).and_then(|_| partial.read_to_end(&mut tail)) {
            Ok(_) => Ok(tail),
            Err(source) => Err(Error::Read { path: self.paths.partial.clone(), source }),
        }
    }

    /// Reports where the file stands to the receiver of the events, unless it knows.
    pub(super) fn announce(&mut self, resumed: u64) {
        if self.announced != Some(resumed) {
            let (file, total) = (self.name.to_owned(), self.remote.size);
            self.client.progress.event(Event::DownloadStarted { file, total, resumed });
            self.announced = Some(resumed);
        }
    }

    fn another_part(&self) -> Failure {
        self.passing("the server sent another part than was asked for".into())
    }

    fn passing(&self, reason: String) -> Failure {
        Failure::Passing { url: self.url(), reason, wait: None }
    }

    fn url(&self) -> String {
        self.client.address(self.repository, self.file)
    }
}

impl Receiver<'_, '_> {
    /// Takes a piece; `false` if no more is wanted.
    fn take(&mut self, piece: &[u8]) -> Result<bool, Failure> {
        let again = piece.len().min(self.overlap.len() - self.repeated);
        if piece[..again] != self.overlap[self.repeated..self.repeated + again] {
            self.transfer.paths.discard()?;
            return Err(self.transfer.another_part());
        }
        self.repeated += again;
        if self.repeated < self.overlap.len() {
            return Ok(true);
        }
        self.transfer.announce(self.at);
        let room = usize::try_from(self.limit - self.at).unwrap_or(usize::MAX);
        let new = &piece[again..];
        let new = &new[..new.len().min(room)];
        if !new.is_empty() {
            self.partial.write_all(new).map_err(writing(&self.transfer.paths.partial))?;
            self.at += new.len() as u64;
            self.transfer.announced = Some(self.at);
            self.transfer.client.progress.event(Event::DownloadAdvanced { bytes: new.len() as u64 });
        }
        Ok(self.at < self.limit)
    }
}
