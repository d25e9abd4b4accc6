//! Decoded photos and their passes through the vision tower, as many as fit into the memory that they may take.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use fieldmark_explain::explain::PhotoSession;
use fieldmark_model::{
    digest::{hexadecimal, sha256},
    photo::Photo,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Engine, Fault};

/// A photo that is kept.
pub(crate) struct Entry<'m> {
    pub(crate) id: String,
    pub(crate) photo: Arc<Photo>,
    session: Mutex<PhotoSession<'m>>,
    /// Bytes of the photo and its passes.
    bytes: AtomicU64,
}

/// A photo that can be asked about.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct PhotoInfo {
    /// What names the photo in addresses.
    pub(crate) id: String,
    /// The name of its file.
    pub(crate) name: String,
    /// Width in pixels, as displayed.
    pub(crate) width: u32,
    /// Height in pixels, as displayed.
    pub(crate) height: u32,
    /// What was odd about the file, though it could be read.
    pub(crate) warnings: Vec<String>,
}

/// A photo of the folders that the server was started with.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Listed {
    /// What names the photo in addresses.
    pub(crate) id: String,
    /// The file as it was named when the server was started.
    pub(crate) name: String,
}

/// The photos that are kept, and the files that may be opened.
pub(crate) struct Shelf<'m> {
    /// The least recently used first.
    kept: Mutex<Vec<Arc<Entry<'m>>>>,
    limit: u64,
    files: Vec<PathBuf>,
}

impl Entry<'_> {
    pub(crate) fn info(&self) -> PhotoInfo {
        let size = self.photo.size();
        PhotoInfo {
            id: self.id.clone(),
            name: self.photo.path().to_string_lossy().into_owned(),
            width: size.width,
            height: size.height,
            warnings: self.photo.warnings().iter().map(ToString::to_string).collect(),
        }
    }
}

impl<'m> Entry<'m> {
    fn new(id: String, photo: Photo, engine: &Engine<'m>) -> Self {
        let photo = Arc::new(photo);
        let session = Mutex::new(engine.explainer.session(Arc::clone(&photo)));
        let bytes = AtomicU64::new(photo.rgb().as_raw().len() as u64);
        Self { id, photo, session, bytes }
    }

    fn session(&self) -> MutexGuard<'_, PhotoSession<'m>> {
        self.session.lock().unwrap_or_else(|poisoned| {
            let mut session = PoisonError::into_inner(poisoned);
            session.forget();
            self.session.clear_poison();
            session
        })
    }

    fn photo_bytes(&self) -> u64 {
        self.photo.rgb().as_raw().len() as u64
    }
}

impl<'m> Shelf<'m> {
    pub(super) fn new(limit: u64, files: Vec<PathBuf>) -> Self {
        Self { kept: Mutex::new(Vec::new()), limit, files }
    }

    /// The id of a file that the server was started with.
    pub(crate) fn file_id(number: usize) -> String {
        format!("file-{number}")
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Arc<Entry<'m>>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_out(&self, id: &str) -> Option<Arc<Entry<'m>>> {
        let mut kept = self.kept();
        let at = kept.iter().position(|entry| entry.id == id)?;
        // The last place is that of the photo which was used last.
        let entry = kept.remove(at);
        kept.push(Arc::clone(&entry));
        Some(entry)
    }

    /// Drops a photo; whether it was kept.
    pub(crate) fn remove(&self, id: &str) -> bool {
        let mut kept = self.kept();
        let before = kept.len();
        kept.retain(|entry| entry.id != id);
        kept.len() < before
    }

    fn put(&self, entry: Entry<'m>) -> Result<Arc<Entry<'m>>, Fault> {
        let bytes = entry.photo_bytes();
        if bytes > self.limit {
            return Err(Fault::TooLarge { bytes, limit: self.limit });
        }
        let entry = Arc::new(entry);
        self.kept().push(Arc::clone(&entry));
        self.shrink();
        Ok(entry)
    }

    /// Drops passes of the photos that were not used for longest, then these photos.
    fn shrink(&self) {
        let mut kept = self.kept();
        let total =
            |kept: &[Arc<Entry>]| kept.iter().map(|entry| entry.bytes.load(Ordering::Relaxed)).sum::<u64>();
        let entries = kept.clone();
        for entry in &entries {
            if total(&kept) <= self.limit {
                return;
            }
            // A photo that is being asked about has its passes in use.
            if let Ok(mut session) = entry.session.try_lock() {
                session.forget();
                entry.bytes.store(entry.photo_bytes(), Ordering::Relaxed);
            }
        }
        while total(&kept) > self.limit && kept.len() > 1 {
            kept.remove(0);
        }
    }
}

impl<'m> Engine<'m> {
    /// Decodes and keeps a photo that was uploaded. The same bytes are the same photo.
    pub(crate) fn upload(&self, name: String, bytes: &[u8]) -> Result<Arc<Entry<'m>>, Fault> {
        let hash = hexadecimal(sha256(bytes).as_ref());
        let id = format!("photo-{}", hash.get(..32).unwrap_or(&hash));
        match self.shelf.take_out(&id) {
            Some(entry) => Ok(entry),
            None => {
                let photo = Photo::from_bytes(name, bytes, &self.photo)?;
                self.shelf.put(Entry::new(id, photo, self))
            }
        }
    }

    /// The photo of that id; a file of the server's folders is opened if it is not kept.
    pub(crate) fn entry(&self, id: &str) -> Result<Arc<Entry<'m>>, Fault> {
        if let Some(entry) = self.shelf.take_out(id) {
            return Ok(entry);
        }
        let number = id.strip_prefix("file-").and_then(|number| number.parse::<usize>().ok());
        // Only the id that is listed: "file-01" would be kept twice.
        let number = number.filter(|number| Shelf::file_id(*number) == id);
        let file = number.and_then(|number| self.shelf.files.get(number));
        let file = file.ok_or_else(|| Fault::NoPhoto(id.to_owned()))?;
        let photo = Photo::open_with(file, &self.photo)?;
        self.shelf.put(Entry::new(id.to_owned(), photo, self))
    }

    /// Asks about a photo that is kept; its passes count towards the memory from then on.
    pub(super) fn with_session<T>(
        &self,
        entry: &Entry<'m>,
        ask: impl FnOnce(&mut PhotoSession<'m>) -> fieldmark_model::error::Result<T>,
    ) -> Result<T, Fault> {
        let answer = {
            let mut session = entry.session();
            let answer = ask(&mut session);
            entry.bytes.store(entry.photo_bytes() + session.memory(), Ordering::Relaxed);
            answer
        };
        self.shelf.shrink();
        Ok(answer?)
    }
}
