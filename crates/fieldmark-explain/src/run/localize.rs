//! One query on every photo.

use std::path::PathBuf;

use fieldmark_model::{
    error::Result,
    photo::{Photo, PhotoOptions},
};

use super::{Ended, Open, Opening, Work, memory};
use crate::explain::{Explainer, Found, PhotoSession, Query};

/// Asks one query of every photo: a [`Work`] whose inputs are the photos' files. What is made of an answer is the caller's
/// choice, and happens on a thread of the photo's own: its files are written there.
pub struct Localize<'a, F> {
    explainer: &'a Explainer,
    query: &'a Query,
    options: PhotoOptions,
    finish: F,
}

impl<'a, R, F: Fn(&Photo, Found) -> Result<R> + Sync> Localize<'a, F> {
    /// `finish` makes a result of each photo and its answer.
    pub fn new(explainer: &'a Explainer, query: &'a Query, finish: F) -> Self {
        Self { explainer, query, options: PhotoOptions::default(), finish }
    }

    /// How photos are opened.
    #[must_use]
    pub fn with_options(mut self, options: PhotoOptions) -> Self {
        self.options = options;
        self
    }
}

impl<R: Send, F: Fn(&Photo, Found) -> Result<R> + Sync> Work for Localize<'_, F> {
    type Input = PathBuf;
    type Opened = Photo;
    type Answer = Found;
    type Output = R;

    fn memory(&self, photo: &PathBuf) -> u64 {
        memory(photo)
    }

    fn open(&self, photo: &PathBuf) -> Result<Opening<Photo, R>> {
        Photo::open_with(photo, &self.options).map(Opening::Photo)
    }

    fn answer(&self, photos: &[Open<'_, PathBuf, Photo>], ended: &Ended) -> Vec<Result<Found>> {
        let sessions = self.explainer.sessions(photos.iter().map(|open| &open.photo), &self.query.settings);
        let answer = |mut session: PhotoSession| {
            ended.check()?;
            let found = session.localize(self.query)?;
            // Answers are of one checkpoint: it did not change meanwhile.
            self.explainer.model().check_unchanged()?;
            Ok(found)
        };
        sessions.into_iter().map(answer).collect()
    }

    fn finish(&self, open: &Open<'_, PathBuf, Photo>, found: Found) -> Result<R> {
        (self.finish)(&open.photo, found)
    }
}
