//! Makes a shard of a training batch: pictures as patches, a pool of captions, and the truth of every pair.

use crate::captions::{self, Caption, Truth, visible_parts};
use crate::draw::{Picture, draw};
use crate::world::{Part, Scene, another_colour, picture_rng};
use rand::Rng;
use std::collections::HashMap;
use tokenizers::Tokenizer;

/// What the miniature's pixels are brought to: (value / 255 - MEAN) / DEVIATION in every channel.
pub const MEAN: f32 = 0.5;
/// See [`MEAN`].
pub const DEVIATION: f32 = 0.25;

/// Captions said of each picture.
const CAPTIONS_A_PICTURE: usize = 4;

/// A scene with its pixels and what is visible in it.
pub struct Example {
    /// The scene.
    pub scene: Scene,
    /// Its pixels and labels.
    pub picture: Picture,
    /// `visible[bird][part]`.
    pub visible: Vec<[bool; 8]>,
}

impl Example {
    /// Draws lots for a scene and draws it on `rows · columns` patches of 8 pixels.
    pub fn sample(rng: &mut impl Rng, (rows, columns): (usize, usize)) -> Self {
        let scene = Scene::sample(rng, columns as f32 / rows as f32);
        let height = 8 * rows as u32;
        // Photographs reach the model shrunk, so some pictures are drawn larger and shrunk too.
        let picture =
            if rng.random_bool(0.2) { halved(&draw(&scene, 2 * height)) } else { draw(&scene, height) };
        Example::of(scene, picture)
    }

    /// A scene drawn at a height in pixels.
    pub fn drawn(scene: Scene, height: u32) -> Self {
        let picture = draw(&scene, height);
        Example::of(scene, picture)
    }

    fn of(scene: Scene, picture: Picture) -> Self {
        let visible = visible_parts(&scene, &picture);
        Example { scene, picture, visible }
    }

    /// Whether a caption is true of it.
    pub fn truth(&self, caption: &Caption) -> Truth {
        caption.truth(&self.scene, &self.visible)
    }
}

/// Half the size, each pixel the mean of four; labels are those of every fourth pixel.
fn halved(picture: &Picture) -> Picture {
    let (width, height) = (picture.width / 2, picture.height / 2);
    let mut rgb = Vec::with_capacity(width * height * 3);
    let mut labels = Vec::with_capacity(width * height);
    for y in 0..height {
        for x in 0..width {
            let places =
                [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(dy, dx)| (2 * y + dy) * picture.width + 2 * x + dx);
            for channel in 0..3 {
                let sum: u32 = places.iter().map(|place| u32::from(picture.rgb[3 * place + channel])).sum();
                rgb.push(((sum + 2) / 4) as u8);
            }
            labels.push(picture.labels[places[3]]);
        }
    }
    Picture { width, height, rgb, labels }
}

/// One thread's share of a batch.
pub struct Shard {
    /// Rows and columns of patches.
    pub grid: (usize, usize),
    /// `[pictures, patches, 3 · 8 · 8]`, flat.
    pub patches: Vec<f32>,
    /// Part class of every patch, 0 for the backdrop, `[pictures · patches]`.
    pub parts: Vec<u8>,
    /// Colour class of every patch; without meaning on the backdrop.
    pub colours: Vec<u8>,
    /// Token ids of the pool's captions, padded to the same length.
    pub ids: Vec<Vec<u32>>,
    /// Where each caption's end token is.
    pub ends: Vec<u32>,
    /// 1 where a caption is true of a picture, else -1, `[pictures, captions]`.
    pub signs: Vec<f32>,
    /// The weight of every pair in the loss, `[pictures, captions]`; sums to 2.
    pub weights: Vec<f32>,
    /// Pictures in the shard.
    pub n_pictures: usize,
    /// A true caption of a picture and the same with one colour changed.
    pub rivals: Vec<Rivals>,
    /// Rivals about one part, with the share of every patch that the part covers.
    pub asked: Vec<(Rivals, Vec<f32>)>,
}

/// Rows of the caption pool that differ in one colour; the first is true of the picture, the second is not.
#[derive(Clone, Copy)]
pub struct Rivals {
    /// Number of the picture in the shard.
    pub picture: usize,
    /// The true caption's row.
    pub caption: usize,
    /// The untrue one's.
    pub rival: usize,
}

/// The patch grid of a step: mostly the square one, sometimes that of a landscape or portrait photograph.
pub fn grid_of_step(seed: u64, step: usize) -> (usize, usize) {
    match picture_rng(seed ^ 0x9e37_79b9, step as u64).random_range(0..10) {
        0 | 1 => (10, 14),
        2 => (14, 10),
        3 => (9, 16),
        _ => (12, 12),
    }
}

/// A pool of different captions; the row of a text in it.
#[derive(Default)]
struct Pool {
    captions: Vec<Caption>,
    rows: HashMap<String, usize>,
}

impl Pool {
    fn add(&mut self, caption: Caption) -> usize {
        let row = self.rows.len();
        let found = *self.rows.entry(caption.text()).or_insert(row);
        if found == row {
            self.captions.push(caption);
        }
        found
    }
}

impl Shard {
    /// Pictures `from..from + n_pictures` of the seed's world, with captions.
    pub fn sample(
        seed: u64,
        from: u64,
        n_pictures: usize,
        grid: (usize, usize),
        tokenizer: &Tokenizer,
    ) -> Self {
        let mut pool = Pool::default();
        let (mut rivals, mut asked) = (Vec::new(), Vec::new());
        let mut examples = Vec::with_capacity(n_pictures);
        let mut patches = Vec::new();
        for number in 0..n_pictures {
            let mut rng = picture_rng(seed, from + number as u64);
            let example = Example::sample(&mut rng, grid);
            for caption in said_of(&mut rng, &example) {
                let is_true = example.truth(&caption) == Truth::True;
                let rival = caption.rival(&mut rng, &example.scene, &example.visible);
                let caption = pool.add(caption);
                if let (true, Some((rival, _))) = (is_true, rival) {
                    rivals.push(Rivals { picture: number, caption, rival: pool.add(rival) });
                }
            }
            if let Some(question) = pointed(&mut rng, &example) {
                let (caption, rival) = (pool.add(question.caption), pool.add(question.rival));
                let rows = Rivals { picture: number, caption, rival };
                rivals.push(rows);
                asked.push((rows, shares(&example.picture, &question.labels)));
            }
            patches.extend(patchify(&example.picture, &mut rng));
            examples.push(example);
        }
        let (signs, weights) = truths(&examples, &pool, &rivals);
        let (parts, colours) = examples.iter().map(classes).fold((Vec::new(), Vec::new()), |mut all, one| {
            all.0.extend(one.0);
            all.1.extend(one.1);
            all
        });
        let texts: Vec<String> = pool.captions.iter().map(Caption::text).collect();
        let (ids, ends) = encode(tokenizer, &texts);
        Shard { grid, patches, parts, colours, ids, ends, signs, weights, n_pictures, rivals, asked }
    }
}

/// Captions for one picture: true ones of a bird in it, or of a bird that might have been.
fn said_of(rng: &mut impl Rng, example: &Example) -> Vec<Caption> {
    let mut said = Vec::with_capacity(CAPTIONS_A_PICTURE);
    for _ in 0..CAPTIONS_A_PICTURE {
        if example.scene.birds.is_empty() {
            let other = Scene::sample(rng, 1.0);
            said.extend(other.birds.first().map(|bird| Caption::about(rng, bird, &[true; 8])));
        } else {
            let number = rng.random_range(0..example.scene.birds.len());
            said.push(Caption::about(rng, &example.scene.birds[number], &example.visible[number]));
        }
    }
    if rng.random_bool(0.15) {
        said.push(captions::any_name(rng));
    }
    said
}

/// Signs and weights of all pairs. Three groups weigh 1, 1/2 and 1/2 together: the true pairs, each picture with its
/// own colour-changed captions, and all other untrue pairs. Undecided pairs weigh nothing.
fn truths(examples: &[Example], pool: &Pool, rivals: &[Rivals]) -> (Vec<f32>, Vec<f32>) {
    let n = pool.captions.len();
    let mut group = vec![3_usize; examples.len() * n];
    for (row, example) in examples.iter().enumerate() {
        for (column, caption) in pool.captions.iter().enumerate() {
            group[row * n + column] = match example.truth(caption) {
                Truth::True => 0,
                Truth::False => 2,
                Truth::Undecided => 3,
            };
        }
    }
    for own in rivals {
        let pair = &mut group[own.picture * n + own.rival];
        *pair = if *pair == 2 { 1 } else { *pair };
    }
    let count = |wanted: usize| group.iter().filter(|&&found| found == wanted).count().max(1) as f32;
    let weight = [1.0 / count(0), 0.5 / count(1), 0.5 / count(2), 0.0];
    let signs = group.iter().map(|&group| if group == 0 { 1.0 } else { -1.0 }).collect();
    (signs, group.iter().map(|&group| weight[group]).collect())
}

/// Cuts a picture into patches, channel by channel as a convolution's weights lie, after a small change of light.
pub fn patchify(picture: &Picture, rng: &mut impl Rng) -> Vec<f32> {
    let (gain, lift) = (rng.random_range(0.9..1.1_f32), rng.random_range(-0.04..0.04_f32));
    cut(picture, |value| ((f32::from(value) / 255.0 - 0.5) * gain + 0.5 + lift).clamp(0.0, 1.0))
}

/// As [`patchify`], with the light as it is.
pub fn patchify_exactly(picture: &Picture) -> Vec<f32> {
    cut(picture, |value| f32::from(value) / 255.0)
}

fn cut(picture: &Picture, light: impl Fn(u8) -> f32) -> Vec<f32> {
    let (rows, columns) = (picture.height / 8, picture.width / 8);
    let mut patches = Vec::with_capacity(rows * columns * 192);
    for patch in 0..rows * columns {
        let (top, left) = (patch / columns * 8, patch % columns * 8);
        for channel in 0..3 {
            for y in top..top + 8 {
                let row = (left..left + 8).map(|x| picture.rgb[3 * (y * picture.width + x) + channel]);
                patches.extend(row.map(|value| (light(value) - MEAN) / DEVIATION));
            }
        }
    }
    patches
}

/// The share of every patch whose pixels have one of the labels.
fn shares(picture: &Picture, labels: &[u8]) -> Vec<f32> {
    let (rows, columns) = (picture.height / 8, picture.width / 8);
    let mut shares = vec![0.0; rows * columns];
    for (place, label) in picture.labels.iter().enumerate() {
        if labels.contains(label) {
            shares[place / picture.width / 8 * columns + place % picture.width / 8] += 1.0 / 64.0;
        }
    }
    shares
}

/// Part and colour class of every patch: of the part that shows most in it, if birds fill two fifths of it.
fn classes(example: &Example) -> (Vec<u8>, Vec<u8>) {
    let picture = &example.picture;
    let (rows, columns) = (picture.height / 8, picture.width / 8);
    let mut parts = Vec::with_capacity(rows * columns);
    let mut colours = Vec::with_capacity(rows * columns);
    for patch in 0..rows * columns {
        let (top, left) = (patch / columns * 8, patch % columns * 8);
        let mut counts = [0_usize; 17];
        for y in top..top + 8 {
            for x in left..left + 8 {
                counts[picture.labels[y * picture.width + x] as usize] += 1;
            }
        }
        let bird_share = 64 - counts[0];
        let most = (1..17).max_by_key(|&label| counts[label]).unwrap_or(1);
        let (bird, part) = ((most - 1) / 8, (most - 1) % 8);
        let on_bird = bird_share >= 26;
        parts.push(if on_bird { 1 + part as u8 } else { 0 });
        colours.push(if on_bird { example.scene.birds[bird].colours[part] as u8 } else { 0 });
    }
    (parts, colours)
}

/// Token ids of texts, padded with the end token to the longest, and the place of each one's end token.
pub fn encode(tokenizer: &Tokenizer, texts: &[String]) -> (Vec<Vec<u32>>, Vec<u32>) {
    let rows = texts.iter().map(|text| match tokenizer.encode_fast(text.as_str(), true) {
        Ok(encoding) => encoding.get_ids().to_vec(),
        Err(error) => panic!("the grammar's own sentences can be encoded: {error}"),
    });
    let mut rows: Vec<Vec<u32>> = rows.collect();
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    let ends = rows.iter().map(|row| row.len() as u32 - 1).collect();
    for row in &mut rows {
        let end = *row.last().unwrap_or(&0);
        row.resize(longest, end);
    }
    (rows, ends)
}

/// A true caption about a part that differs from the rest of its bird, the same with one colour changed, and the
/// labels of all the pixels that make it true.
pub struct Pointed {
    /// "red shoulder patch"
    pub caption: Caption,
    /// "blue shoulder patch", false of the picture
    pub rival: Caption,
    /// The part.
    pub part: Part,
    /// Labels in the picture of that part of every bird that the caption is true of.
    pub labels: Vec<u8>,
}

/// A question about where something is, if the scene allows one.
pub fn pointed(rng: &mut impl Rng, example: &Example) -> Option<Pointed> {
    let mut choices = Vec::new();
    for (number, bird) in example.scene.birds.iter().enumerate() {
        for part in Part::ALL {
            let large = example.picture.share(number, part) >= 0.01;
            if part != Part::Body && bird.stands_out(part) && large {
                // Nearly every beak stands out, so the other parts are asked about twice as often.
                choices.extend(std::iter::repeat_n((number, part), if part == Part::Beak { 1 } else { 2 }));
            }
        }
    }
    let &(number, part) = choices.get(rng.random_range(0..choices.len().max(1)))?;
    let (bird, shown) = (&example.scene.birds[number], &example.visible[number]);
    let colour = bird.colour(part);
    let caption = Caption::naming(rng, bird, part, shown);
    let rival = (0..20).find_map(|_| {
        let rival = caption.recoloured(0, another_colour(rng, &[colour]))?;
        (example.truth(&rival) == Truth::False).then_some(rival)
    })?;
    let fits = |&number: &usize| {
        caption.truth_of_bird(&example.scene.birds[number], &example.visible[number]) == Truth::True
    };
    let labels =
        (0..example.scene.birds.len()).filter(fits).map(|number| crate::draw::label_of(number, part));
    let labels: Vec<u8> = labels.collect();
    if labels.is_empty() {
        return None;
    }
    Some(Pointed { caption, rival, part, labels })
}
