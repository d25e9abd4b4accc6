//! Regions become COCO-style annotations, which labelling tools and evaluation code read.
//!
//! One file for a whole run: a picture each under `images`, an instance each under `annotations`, a prompt each under
//! `categories`. `segmentation` is a polygon where the region has no holes, and else COCO's uncompressed run-length
//! code, which is exact; `area` counts the exact pixels either way. `score` is the instance's share of the positive
//! evidence on its picture: it ranks the instances of one picture and compares no pictures.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::regions::{Instance, RunLengths};
use fieldmark_model::error::Result;
use fieldmark_model::files::{escaped, write_atomically};
use fieldmark_model::geometry::Size;

/// Everything that one run found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Coco {
    info: Info,
    images: Vec<Image>,
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

/// The number of a picture in [`Coco`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ImageId(usize);

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Info {
    description: String,
    version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Image {
    id: ImageId,
    file_name: String,
    /// The escaped form of a name that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    file_name_bytes: Option<String>,
    width: u32,
    height: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Category {
    id: usize,
    name: String,
    supercategory: &'static str,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Annotation {
    id: usize,
    image_id: ImageId,
    category_id: usize,
    bbox: [u32; 4],
    area: u64,
    segmentation: Segmentation,
    score: f64,
    iscrowd: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Segmentation {
    /// x and y by turns.
    Polygons([Vec<u32>; 1]),
    RunLengths(RunLengths),
}

impl Coco {
    /// Nothing found yet; `description` says what looked for it.
    pub fn new(description: impl Into<String>) -> Self {
        Self {
            info: Info { description: description.into(), version: env!("CARGO_PKG_VERSION") },
            images: Vec::new(),
            annotations: Vec::new(),
            categories: Vec::new(),
        }
    }

    /// Adds a picture, whether or not anything is found on it.
    pub fn add_image(&mut self, path: &Path, size: Size) -> ImageId {
        let id = ImageId(self.images.len() + 1);
        let file_name = path.to_string_lossy().into_owned();
        let file_name_bytes = escaped(path);
        self.images.push(Image { id, file_name, file_name_bytes, width: size.width, height: size.height });
        id
    }

    /// Adds the places where a picture shows a prompt; none is an answer, too.
    pub fn add_instances(&mut self, image_id: ImageId, prompt: &str, instances: &[Instance]) {
        let category_id = self.category(prompt);
        for instance in instances {
            let region = &instance.region;
            self.annotations.push(Annotation {
                id: self.annotations.len() + 1,
                image_id,
                category_id,
                bbox: [region.x, region.y, region.width, region.height],
                area: region.area,
                segmentation: segmentation(instance),
                score: region.share,
                iscrowd: 0,
            });
        }
    }

    /// Writes the file whole or not at all.
    ///
    /// # Errors
    /// [`Error::Write`](fieldmark_model::error::Error::Write) if it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        write_atomically(path, |file| self.write(file))
    }

    /// Writes what the file holds.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        out.write_all(b"\n")
    }

    /// The number of a prompt, which is added if it is new.
    fn category(&mut self, prompt: &str) -> usize {
        if let Some(known) = self.categories.iter().find(|category| category.name == prompt) {
            return known.id;
        }
        let id = self.categories.len() + 1;
        self.categories.push(Category { id, name: prompt.into(), supercategory: "prompt" });
        id
    }
}

fn segmentation(instance: &Instance) -> Segmentation {
    match instance.mask.rings().len() {
        0 | 1 => Segmentation::Polygons([instance.region.polygon.concat()]),
        _ => Segmentation::RunLengths(instance.mask.run_lengths()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::ConceptMap;
    use crate::regions::{Threshold, instances};
    use fieldmark_model::geometry::{Grid, Placement, Rect};

    fn pixels(width: usize, values: &[f32]) -> Vec<Instance> {
        let grid = Grid::new(values.len() / width, width);
        let photo = Size::new(width as u32, grid.rows as u32);
        let placement = Placement { photo, input: photo, grid, covers: Rect::whole(photo) };
        instances(&ConceptMap::new(values.to_vec(), placement), Threshold::default())
    }

    #[test]
    fn a_run_is_one_file_with_images_annotations_and_categories() {
        #[rustfmt::skip]
        let ring = pixels(5, &[
            1.0, 1.0, 1.0, 0.0, 0.0,
            1.0, 0.0, 1.0, 0.0, 2.0,
            1.0, 1.0, 1.0, 0.0, 0.0,
        ]);
        let mut coco = Coco::new("a model");
        let first = coco.add_image(Path::new("a/one.png"), Size::new(5, 3));
        coco.add_instances(first, "ring", &ring);
        let second = coco.add_image(Path::new("two.png"), Size::new(4, 4));
        coco.add_instances(second, "ring", &[]);
        coco.add_instances(second, "dot", &[]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all.json");
        coco.save(&path).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let expected = serde_json::json!({
            "info": {"description": "a model", "version": env!("CARGO_PKG_VERSION")},
            "images": [
                {"id": 1, "file_name": "a/one.png", "width": 5, "height": 3},
                {"id": 2, "file_name": "two.png", "width": 4, "height": 4},
            ],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 3, 3], "area": 8, "score": 0.8,
                 "segmentation": {"counts": [0, 4, 1, 4, 6], "size": [3, 5]}, "iscrowd": 0},
                {"id": 2, "image_id": 1, "category_id": 1, "bbox": [4, 1, 1, 1], "area": 1, "score": 0.2,
                 "segmentation": [[4, 1, 5, 1, 5, 2, 4, 2]], "iscrowd": 0},
            ],
            "categories": [
                {"id": 1, "name": "ring", "supercategory": "prompt"},
                {"id": 2, "name": "dot", "supercategory": "prompt"},
            ],
        });
        assert_eq!(read, expected);
        assert!(matches!(coco.save(&path.join("x")), Err(fieldmark_model::error::Error::Write { .. })));
    }
}
