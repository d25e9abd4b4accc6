//! All passes over one photo become its maps: one pass over the whole, and with tiles one over each of them.

use candle_core::Tensor;
use rayon::prelude::*;

use crate::{
    attribution::ConceptMap,
    refine::{Blend, Layout},
    report::{BestTile, Evidence, Seconds, Setup, Tiling},
};
use fieldmark_model::{
    error::{Error, Result},
    geometry::Size,
    photo::Photo,
    progress::Event,
};

use super::{
    Explainer, evidence,
    plan::Plan,
    settings::Settings,
    tower_pass::{PassInput, PassOptions, TowerPass},
};

/// What is asked of every pass over a photo.
pub(super) struct PassRequest<'a> {
    pub(super) plan: &'a Plan<'a>,
    pub(super) settings: &'a Settings,
    pub(super) view: &'a PassOptions,
    /// The prompts that compete and, where the verdict needs it, the neutral one: [prompts, embedding].
    pub(super) texts: &'a Tensor,
    /// What the method asks for beside them.
    pub(super) extra: Option<&'a Tensor>,
    /// How many compete.
    pub(super) competing: usize,
    /// The prompt that each mix is about.
    pub(super) targets: &'a [usize],
    /// A pass's logits become the mixes that its maps explain.
    pub(super) mixes: &'a dyn Fn(&[f64]) -> Vec<Vec<f64>>,
}

/// What the passes gave.
pub(super) struct PassMaps {
    /// A map for every mix.
    pub(super) maps: Vec<ConceptMap>,
    /// For every mix the tile that fits its prompt best, if there are tiles.
    pub(super) best_tiles: Vec<Option<BestTile>>,
    /// The settings with the geometry that followed from them.
    pub(super) setup: Setup,
    /// What tiles added to the time of the pass over the whole photo.
    pub(super) seconds: Seconds,
}

impl Explainer {
    /// The maps of a photo of which the whole was looked at already.
    pub(super) fn see(&self, photo: &Photo, pass: &TowerPass, task: &PassRequest) -> Result<PassMaps> {
        let maps = self.maps_of(pass, task)?;
        let setup = Setup { artifacts: pass.artifacts(task.plan), ..task.plan.setup.clone() };
        let input = self.model.config().vision.image_size as u32;
        match Layout::new(task.settings.tiles, photo.size(), input)? {
            Some(layout) => self.see_tiles(photo, &layout, task, PassMaps::of_whole(maps, setup)),
            None => Ok(PassMaps::of_whole(maps, setup.place(&pass.placement))),
        }
    }

    /// Looks at every tile, a few at a time, so that their number costs no memory.
    fn see_tiles(
        &self,
        photo: &Photo,
        layout: &Layout,
        task: &PassRequest,
        mut seen: PassMaps,
    ) -> Result<PassMaps> {
        let view = task.view.of_tile();
        let mut blends = vec![Blend::new(layout, view.request.trained); seen.maps.len()];
        let mut tiling = Tiling {
            rows: layout.tiling().rows,
            columns: layout.tiling().columns,
            side: layout.side(),
            artifacts: 0,
        };
        self.progress.event(Event::PassesStarted { passes: layout.count() });
        let corners: Vec<_> = layout.corners().collect();
        let side = Size::new(layout.side(), layout.side());
        for corners in corners.chunks(view.photos_together()) {
            let prepared = corners.par_iter().map(|corner| {
                let tile = photo.part(*corner, side).ok_or_else(outside)?;
                PassInput::new(&self.model, &tile, &view)
            });
            let passes =
                TowerPass::of_each(&self.model, prepared.collect::<Result<_>>()?, &view, &*self.progress)?;
            for (corner, pass) in corners.iter().zip(&passes) {
                let maps = self.maps_of(pass, task)?;
                tiling.artifacts += pass.outliers(task.plan).len();
                seen.seconds.decode += pass.seconds.decode;
                seen.seconds.trunk += pass.seconds.trunk;
                self.keep_best(&mut seen.best_tiles, pass, task, (*corner, &maps))?;
                blends.iter_mut().zip(&maps).for_each(|(blend, map)| blend.add(*corner, map));
                self.progress.event(Event::PassesAdvanced { passes: 1 });
            }
        }
        self.progress.event(Event::PassesFinished);
        seen.maps = blends.into_iter().zip(&seen.maps).map(|(blend, whole)| blend.finish(whole)).collect();
        if let Some(map) = seen.maps.first() {
            seen.setup = Setup { tiles: Some(tiling), ..seen.setup }.place(map.placement());
        }
        Ok(seen)
    }

    fn maps_of(&self, pass: &TowerPass, task: &PassRequest) -> Result<Vec<ConceptMap>> {
        let scores = pass.scores(task.texts)?;
        let mixes = (task.mixes)(&scores.logits[..task.competing]);
        pass.maps(task.plan, &task.texts.narrow(0, 0, task.competing)?, task.extra, &mixes)
    }

    /// Replaces the best tiles that this one is better than.
    fn keep_best(
        &self,
        best: &mut [Option<BestTile>],
        pass: &TowerPass,
        task: &PassRequest,
        ([x, y], maps): ([u32; 2], &[ConceptMap]),
    ) -> Result<()> {
        let scores = pass.scores(task.texts)?;
        for ((prompt, best), map) in task.targets.iter().zip(best).zip(maps) {
            let prompt = *prompt;
            let (similarity, logit) = (scores.similarities[prompt], scores.logits[prompt]);
            if best.is_none_or(|best| logit > best.logit) {
                let Evidence { verdict, .. } = evidence(map, self.presence(&scores, prompt, task.competing));
                *best = Some(BestTile { x, y, similarity, logit, verdict });
            }
        }
        Ok(())
    }
}

impl PassMaps {
    fn of_whole(maps: Vec<ConceptMap>, setup: Setup) -> Self {
        Self { best_tiles: vec![None; maps.len()], maps, setup, seconds: Seconds::default() }
    }
}

fn outside() -> Error {
    Error::Option { option: "tiles", reason: "expected tiles on the photo, found one beside it".into() }
}
