//! The passes of photos through the vision tower: of several photos at once, and of one that is asked several things.

use std::{ops::Deref, sync::Arc};

use rayon::prelude::*;

use crate::objective::Strength;
use fieldmark_model::{error::Result, photo::Photo};

use super::{
    Compare, CompareQuery, Explainer, Found, Query, Settings,
    plan::Plan,
    tower_pass::{PassInput, PassOptions, TowerPass},
};

/// A photo and its passes through the vision tower. Questions that see the photo alike (the same fit and detail,
/// affinity and artifacts) share one pass.
pub struct PhotoSession<'m> {
    pub(super) explainer: &'m Explainer,
    pub(super) photo: SessionPhoto<'m>,
    /// What will be asked, as far as it is known: the first pass serves all of it that one pass can.
    ahead: Vec<PassOptions>,
    known: Vec<(PassOptions, TowerPass<'m>)>,
}

/// The photo of a session: somebody else's, or one that the session owns together with others.
#[derive(Clone)]
pub(super) enum SessionPhoto<'m> {
    Borrowed(&'m Photo),
    Shared(Arc<Photo>),
}

impl Deref for SessionPhoto<'_> {
    type Target = Photo;

    fn deref(&self) -> &Photo {
        match self {
            Self::Borrowed(photo) => photo,
            Self::Shared(photo) => photo,
        }
    }
}

impl Explainer {
    /// A session that owns its photo together with others, for programs that keep sessions: it lives as long as the
    /// explainer. The photo passes the vision tower when the first question is asked.
    pub fn session(&self, photo: Arc<Photo>) -> PhotoSession<'_> {
        PhotoSession::with(self, SessionPhoto::Shared(photo))
    }

    /// How many photos [`sessions`](Self::sessions) should be given at a time: up to 4, fewer of a tower that cuts them into many
    /// patches, and 1 for a method that keeps what happens inside its blocks.
    ///
    /// # Errors
    /// If a setting is not one of the checkpoint's.
    pub fn photos_together(&self, settings: &Settings) -> Result<usize> {
        Ok(self.view_of([settings])?.map_or(1, |view| view.photos_together()))
    }

    /// Looks at photos, which pass the vision tower together: that is faster than one after the other, the more so the
    /// smaller the tower is. They may be of any sizes. On a CPU a photo's answers are the same to the last digit as if
    /// it were looked at alone. More photos than [`photos_together`](Self::photos_together) pass in several groups.
    ///
    /// Errors are deferred: an invalid setting or photo fails on the first query.
    pub fn sessions<'m>(
        &'m self,
        photos: impl IntoIterator<Item = &'m Photo>,
        settings: &Settings,
    ) -> Vec<PhotoSession<'m>> {
        self.sessions_for(photos, [settings])
    }

    /// [`sessions`](Self::sessions) for several settings, as far as one pass can serve them.
    pub fn sessions_for<'m, 's>(
        &'m self,
        photos: impl IntoIterator<Item = &'m Photo>,
        settings: impl IntoIterator<Item = &'s Settings>,
    ) -> Vec<PhotoSession<'m>> {
        let mut all: Vec<_> = photos.into_iter().map(|photo| PhotoSession::new(self, photo)).collect();
        let Ok(Some(view)) = self.view_of(settings) else { return all };
        for sessions in all.chunks_mut(view.photos_together()) {
            let prepared: Vec<_> = sessions
                .par_iter()
                .map(|session| PassInput::new(&self.model, &session.photo, &view).ok())
                .collect();
            let ready = prepared.into_iter().zip(sessions);
            let (prepared, sessions): (Vec<_>, Vec<_>) =
                ready.filter_map(|(prepared, session)| Some((prepared?, session))).unzip();
            if let Ok(passes) = TowerPass::of_each(&self.model, prepared, &view, &*self.progress) {
                sessions
                    .into_iter()
                    .zip(passes)
                    .for_each(|(session, pass)| session.known.push((view.clone(), pass)));
            }
        }
        all
    }

    /// What the first of some settings ask of a pass, and all others that it can serve as well.
    fn view_of<'s>(&self, settings: impl IntoIterator<Item = &'s Settings>) -> Result<Option<PassOptions>> {
        let mut first: Option<PassOptions> = None;
        for settings in settings {
            let view = PassOptions::new(&self.model, settings, &Plan::new(self, settings)?);
            match &mut first {
                Some(first) => first.join(&view),
                None => first = Some(view),
            }
        }
        Ok(first)
    }
}

impl<'m> PhotoSession<'m> {
    pub(super) fn new(explainer: &'m Explainer, photo: &'m Photo) -> Self {
        Self::with(explainer, SessionPhoto::Borrowed(photo))
    }

    fn with(explainer: &'m Explainer, photo: SessionPhoto<'m>) -> Self {
        Self { explainer, photo, ahead: Vec::new(), known: Vec::new() }
    }

    /// The photo.
    pub fn photo(&self) -> &Photo {
        &self.photo
    }

    /// About how many bytes the passes of this session take, their photo not counted.
    pub fn memory(&self) -> u64 {
        let model = &self.explainer.model;
        self.known.iter().map(|(view, pass)| view.memory(model, pass)).sum()
    }

    /// Forgets all passes; a question asked afterwards runs the vision tower again.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    /// [`Explainer::rank`] on the photo.
    ///
    /// # Errors
    /// As there.
    pub fn rank(&mut self, lineup: &CompareQuery, settings: &Settings) -> Result<Compare> {
        Ok(self.explainer.rank_looks(self, lineup, std::slice::from_ref(settings))?.remove(0))
    }

    /// [`Explainer::localize`] on the photo.
    ///
    /// # Errors
    /// As there.
    pub fn localize(&mut self, query: &Query) -> Result<Found> {
        Ok(self.sweep(query, &[query.settings.strength])?.remove(0))
    }

    /// [`Explainer::sweep`] on the photo.
    ///
    /// # Errors
    /// As there.
    pub fn sweep(&mut self, query: &Query, strengths: &[Strength]) -> Result<Vec<Found>> {
        self.explainer.answer_timed(self, query, strengths)
    }

    /// [`Explainer::compare`] on the photo.
    ///
    /// # Errors
    /// As there.
    pub fn compare(&mut self, prompts: &[String], settings: &Settings) -> Result<Compare> {
        self.rank(&CompareQuery { prompts: prompts.to_vec(), ..CompareQuery::default() }, settings)
    }

    /// Announces what will be asked.
    pub(super) fn expect(&mut self, settings: &Settings, plan: &Plan) {
        self.ahead.push(PassOptions::new(&self.explainer.model, settings, plan));
    }

    pub(super) fn of(&mut self, settings: &Settings, plan: &Plan) -> Result<(&PassOptions, &TowerPass<'m>)> {
        let Explainer { model, progress, .. } = self.explainer;
        let mut view = PassOptions::new(model, settings, plan);
        let known = self.known.iter().position(|(other, _)| other.covers(&view));
        let index = known.unwrap_or(self.known.len());
        if known.is_none() {
            self.ahead.iter().for_each(|other| view.join(other));
            let pass = TowerPass::new(model, &self.photo, &view, &**progress)?;
            self.known.push((view, pass));
        }
        let (view, pass) = &self.known[index];
        Ok((view, pass))
    }
}
