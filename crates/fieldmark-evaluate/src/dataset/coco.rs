//! COCO's JSON, and PartImageNet's, becomes pictures with questions about categories.
//!
//! All instances of a category in a picture are one question, crowds included: it asks where the concept is, not how
//! many there are. In memory: the categories; of each picture its name and size, and where its annotations are in the
//! file, 16 bytes for each. The annotations are read picture by picture.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    Ask, Options, Picture, Place, Question, Region, Source, Truth, Walk,
    coco_shapes::{Instance, instance},
    json::{Fields, Item, for_items, item_error, named, value, wrong},
    passed_over::PassedOver,
    paths::{file_name, files_ending, images_folder, named_file, only},
    wording::{Concepts, Phrases, Wording, join_label},
};
use fieldmark_model::{
    error::{Error, Result},
    geometry::Size,
    progress::Warning,
};

const ANNOTATIONS: &str = "annotations";

/// So many pictures at most are looked for to find their folder.
const FOLDERS_TRIED: usize = 16;

/// The most bytes of annotations about one picture.
const MOST_BYTES: u64 = 64 << 20;

/// The data set.
#[derive(Debug)]
pub(super) struct Coco {
    path: PathBuf,
    images_folder: PathBuf,
    images: Vec<Image>,
    /// What is asked about.
    asked: Vec<Asked>,
    /// Which of them a category is, by its id; none, one or two.
    categories: HashMap<String, Vec<usize>>,
    place: Place,
    concepts: Concepts,
    /// Odd pictures, categories and annotations.
    odd: Odd,
}

/// What cannot be used.
#[derive(Debug)]
struct Odd {
    images: PassedOver,
    categories: PassedOver,
    annotations: PassedOver,
}

#[derive(Debug)]
struct Image {
    name: String,
    /// The last folder of its address, where that is all that is known of it.
    folder: Option<String>,
    size: Option<Size>,
    annotations: Vec<Annotated>,
}

/// Where an annotation is in the file.
#[derive(Clone, Copy, Debug)]
struct Annotated {
    offset: u64,
    length: u32,
    /// In the list; the first is 1.
    number: u32,
}

#[derive(Debug)]
struct Asked {
    prompt: String,
    label: String,
    part: Option<String>,
}

/// A category as written in the file.
struct Category {
    id: String,
    name: String,
    group: Option<String>,
}

impl Coco {
    /// # Errors
    /// [`Error::Read`], [`Error::Dataset`] or [`Error::Option`], as [`Dataset::open`](super::Dataset::open).
    pub(super) fn open(path: &Path, options: &Options) -> Result<Self> {
        let wording = Wording::new(options, &Phrases::default())?;
        let file = annotation_file(path, options.split.as_deref())?;
        let odd = Odd {
            images: PassedOver::new(&file, "pictures"),
            categories: PassedOver::new(&file, "categories"),
            annotations: PassedOver::new(&file, ANNOTATIONS),
        };
        let Contents { images, categories } = read(&file, &odd)?;
        let names: Vec<_> = images.iter().take(FOLDERS_TRIED).flat_map(Image::paths).collect();
        let folder = || images_folder(usual_folders(path, &file), names.iter().map(String::as_str));
        let mut coco = Self {
            images_folder: options.images.clone().unwrap_or_else(folder),
            path: file,
            odd,
            images,
            asked: Vec::new(),
            categories: HashMap::new(),
            place: options.place,
            concepts: Concepts::default(),
        };
        coco.choose(&categories, &options.ask, &wording)?;
        Ok(coco)
    }

    /// Decides what is asked about. Where every category is named after its supercategory and more ("Quadruped Head" of
    /// "Quadruped"), they are parts of it.
    fn choose(&mut self, categories: &[Category], ask: &[Ask], wording: &Wording) -> Result<()> {
        let are_parts = categories.iter().all(|category| category.part().is_some());
        if !are_parts && ask.contains(&Ask::Part) {
            let reason = "expected class for categories that are no parts of their supercategory, found part";
            return Err(Error::Option { option: "ask", reason: reason.into() });
        }
        let class = |label: &str| wording.class(&wording.words(label));
        for category in categories {
            let mut asked = Vec::new();
            match category.part().filter(|_| are_parts) {
                Some((whole, part)) => {
                    if ask.contains(&Ask::Class) {
                        asked.push(self.ask(&class(whole), whole, None, None));
                    }
                    if ask.is_empty() || ask.contains(&Ask::Part) {
                        let phrase = || wording.part(&wording.words(part), &wording.words(whole));
                        let prompt = wording.own(&category.name).map_or_else(phrase, str::to_owned);
                        asked.push(self.ask(&prompt, &category.name, Some(part), Some(&class(whole))));
                    }
                }
                None => {
                    let group = category.group.as_deref().map(class);
                    asked.push(self.ask(&class(&category.name), &category.name, None, group.as_deref()));
                }
            }
            self.categories.insert(category.id.clone(), asked);
        }
        Ok(())
    }

    /// The place of a question among those that are asked; one that is new is added.
    fn ask(&mut self, prompt: &str, label: &str, part: Option<&str>, group: Option<&str>) -> usize {
        self.concepts.add(prompt, &group.into_iter().collect::<Vec<_>>());
        if let Some(known) = self.asked.iter().position(|asked| asked.prompt == prompt) {
            join_label(&mut self.asked[known].label, label);
            return known;
        }
        self.asked.push(Asked { prompt: prompt.into(), label: label.into(), part: part.map(str::to_owned) });
        self.asked.len() - 1
    }

    fn picture(&self, image: &Image, file: &mut File) -> Result<Picture> {
        let mut found: BTreeMap<usize, Vec<Instance>> = BTreeMap::new();
        let mut bytes = 0;
        for annotated in &image.annotations {
            bytes += u64::from(annotated.length);
            if bytes > MOST_BYTES {
                let reason = format!("expected at most {MOST_BYTES} bytes about one picture, found more");
                return Err(item_error(&self.path, ANNOTATIONS, annotated.number as usize, &reason));
            }
            let value = self.annotation(annotated, file)?;
            match self.instances(&value, annotated, image.size) {
                Ok(instances) => {
                    for (asked, instance) in instances {
                        found.entry(asked).or_default().push(instance);
                    }
                }
                Err(reason) => {
                    self.odd.annotations.add(named(ANNOTATIONS, annotated.number as usize, &reason))
                }
            }
        }
        let questions = found.into_iter().map(|(asked, instances)| self.question(asked, instances, image));
        let questions = questions.collect();
        Ok(Picture { name: image.name.clone(), path: self.file_of(image), questions })
    }

    /// The first of a picture's usual places where there is a file.
    fn file_of(&self, image: &Image) -> PathBuf {
        let mut paths = image.paths().into_iter().map(|path| self.images_folder.join(path));
        let exists = |path: &PathBuf| image.folder.is_some() && path.is_file();
        paths.find(exists).unwrap_or_else(|| self.images_folder.join(&image.name))
    }

    /// What an annotation is the place of.
    fn instances(
        &self,
        value: &Value,
        annotated: &Annotated,
        photo: Option<Size>,
    ) -> Result<Vec<(usize, Instance)>, String> {
        let fields = Fields::of(value)?;
        let asked = self.categories.get(&id(&fields, "category_id")?).map_or(&[][..], Vec::as_slice);
        asked.iter().map(|asked| Ok((*asked, instance(&fields, annotated.number, photo)?))).collect()
    }

    fn question(&self, asked: usize, instances: Vec<Instance>, image: &Image) -> Question {
        let Asked { prompt, label, part } = &self.asked[asked];
        Question {
            line: instances.first().map_or(0, |instance| instance.number as usize),
            id: None,
            prompt: prompt.clone(),
            label: Some(label.clone()),
            against: Vec::new(),
            part: part.clone(),
            truth: self.truth(instances, image.size),
        }
    }

    fn annotation(&self, annotated: &Annotated, file: &mut File) -> Result<Value> {
        let fail = |source| Error::Read { path: self.path.clone(), source };
        let mut bytes = vec![0; annotated.length as usize];
        file.seek(SeekFrom::Start(annotated.offset)).map_err(fail)?;
        file.read_exact(&mut bytes).map_err(fail)?;
        let changed = |_| "expected the annotation that was here before, found something else";
        let value = value(&bytes).map_err(changed);
        value.map_err(|reason| item_error(&self.path, ANNOTATIONS, annotated.number as usize, reason))
    }

    fn truth(&self, instances: Vec<Instance>, size: Option<Size>) -> Truth {
        let has_shapes = instances.iter().any(|instance| !instance.shapes.is_empty());
        if has_shapes && self.place == Place::Finest {
            Truth::Region(Region {
                shapes: instances.into_iter().flat_map(Instance::into_shapes).collect(),
                size,
            })
        } else {
            Truth::Boxes(instances.into_iter().map(|instance| instance.area).collect())
        }
    }
}

impl Category {
    /// Its supercategory, and what its name says behind that.
    fn part(&self) -> Option<(&str, &str)> {
        let whole = self.group.as_deref()?;
        let rest = self.name.strip_prefix(whole)?.strip_prefix([' ', '_', '-'])?.trim();
        (!rest.is_empty()).then_some((whole, rest))
    }
}

impl Source for Coco {
    fn path(&self) -> &Path {
        &self.path
    }

    fn concepts(&self) -> Option<&Concepts> {
        Some(&self.concepts)
    }

    fn passed_over(&self) -> Vec<Warning> {
        let Odd { images, categories, annotations } = &self.odd;
        [images, categories, annotations].into_iter().filter_map(PassedOver::warning).collect()
    }

    fn pictures(&self) -> Result<Walk<'_>> {
        let fail = |source| Error::Read { path: self.path.clone(), source };
        let mut file = File::open(&self.path).map_err(fail)?;
        Ok(Box::new(self.images.iter().map(move |image| self.picture(image, &mut file))))
    }
}

/// The file itself, or the one in the folder or in its `annotations`; of several, that of instances.
fn annotation_file(path: &Path, split: Option<&str>) -> Result<PathBuf> {
    if !path.is_dir() {
        return named_file(path, split);
    }
    let inner = path.join(ANNOTATIONS);
    let mut found = files_ending(&inner, ".json")?;
    found.extend(files_ending(path, ".json")?);
    let is_instances = |path: &PathBuf| file_name(path).starts_with("instances");
    if found.iter().any(is_instances) {
        found.retain(is_instances);
    }
    only(path, found, split, "annotations")
}

/// Where a set's pictures may be: its folders are named after the split, or `images`.
fn usual_folders(path: &Path, file: &Path) -> Vec<PathBuf> {
    let beside = file.parent().unwrap_or(Path::new(""));
    let is_inner = file_name(beside) == ANNOTATIONS && !path.is_dir();
    let root = if path.is_dir() {
        path
    } else if is_inner {
        beside.parent().unwrap_or(beside)
    } else {
        beside
    };
    let name = file_name(file);
    let stem = name.strip_suffix(".json").unwrap_or(&name);
    let split = stem.rsplit('_').next().unwrap_or(stem);
    let folders =
        ["images".into(), format!("images/{split}"), split.into(), String::new(), "JPEGImages".into()];
    folders.into_iter().map(|folder: String| root.join(folder)).chain([beside.into()]).collect()
}

/// What a file holds, but for the annotations themselves.
struct Contents {
    images: Vec<Image>,
    categories: Vec<Category>,
}

fn read(path: &Path, odd: &Odd) -> Result<Contents> {
    let mut listed = Listed::default();
    for_items(path, &["images", "categories", ANNOTATIONS], &mut |item| {
        let (list, passed_over) = match item.field {
            "images" => (List::Images, &odd.images),
            "categories" => (List::Categories, &odd.categories),
            _ => (List::Annotations, &odd.annotations),
        };
        if let Err(reason) = listed.add(list, &item) {
            passed_over.add(named(item.field, item.number, &reason));
        }
        Ok(())
    })?;
    Ok(listed.together(&odd.annotations))
}

/// The lists of a file.
#[derive(Clone, Copy)]
enum List {
    Images,
    Categories,
    Annotations,
}

/// What the lists hold. They may come in any order, so that what refers to others is looked up at the end.
#[derive(Default)]
struct Listed {
    images: Vec<Image>,
    positions: HashMap<usize, usize>,
    categories: Vec<Category>,
    annotations: Vec<(usize, usize, Annotated)>,
    image_ids: Ids,
    category_ids: Ids,
}

impl Listed {
    fn add(&mut self, list: List, item: &Item<'_>) -> Result<(), String> {
        let value = item.value()?;
        let fields = Fields::of(&value)?;
        match list {
            List::Images => {
                let image = image(&fields)?;
                let number = self.image_ids.number(id(&fields, "id")?);
                if self.positions.contains_key(&number) {
                    return Err(wrong("id", "each picture once", fields.required("id")?));
                }
                self.positions.insert(number, self.images.len());
                self.images.push(image);
            }
            List::Categories => self.categories.push(category(&fields)?),
            List::Annotations => {
                let annotated = annotated(item)?;
                let image = self.image_ids.number(id(&fields, "image_id")?);
                let category = self.category_ids.number(id(&fields, "category_id")?);
                self.annotations.push((image, category, annotated));
            }
        }
        Ok(())
    }

    /// Every picture with its annotations.
    fn together(mut self, odd: &PassedOver) -> Contents {
        let ids = self.categories.iter().map(|category| category.id.clone());
        let known: HashSet<usize> = ids.map(|id| self.category_ids.number(id)).collect();
        for (image, category, annotated) in self.annotations {
            let unknown = |field: &str, expected: &str, ids: &Ids, number: usize| {
                let reason = format!("{field:?}: expected {expected}, found {}", ids.name(number));
                odd.add(named(ANNOTATIONS, annotated.number as usize, &reason));
            };
            match self.positions.get(&image) {
                _ if !known.contains(&category) => {
                    unknown("category_id", "a category's id", &self.category_ids, category);
                }
                Some(position) => self.images[*position].annotations.push(annotated),
                None => unknown("image_id", "a picture's id", &self.image_ids, image),
            }
        }
        Contents { images: self.images, categories: self.categories }
    }
}

/// Ids become numbers, which take less memory for each annotation.
#[derive(Default)]
struct Ids(HashMap<String, usize>);

impl Ids {
    fn number(&mut self, id: String) -> usize {
        let next = self.0.len();
        *self.0.entry(id).or_insert(next)
    }

    fn name(&self, number: usize) -> &str {
        self.0.iter().find(|(_, known)| **known == number).map_or("", |(id, _)| id)
    }
}

fn category(fields: &Fields<'_>) -> Result<Category, String> {
    let (id, name) = (id(fields, "id")?, fields.required_text("name")?);
    Ok(Category { id, name, group: fields.text("supercategory")? })
}

fn id(fields: &Fields<'_>, name: &str) -> Result<String, String> {
    fields.name(name)?.ok_or_else(|| format!("{name:?}: expected a number, found nothing"))
}

fn image(fields: &Fields<'_>) -> Result<Image, String> {
    // Some programs write 640.0. Sides that are no such thing only mean that nothing is known of them.
    let side = |name: &str| {
        let side =
            fields.get(name).and_then(Value::as_f64).filter(|side| side.fract() == 0.0 && *side >= 1.0);
        side.filter(|side| *side <= f64::from(u32::MAX)).map(|side| side as u32)
    };
    let size = side("width").zip(side("height")).map(|(width, height)| Size::new(width, height));
    let (folder, name) = match fields.text("file_name")? {
        Some(name) => (None, name),
        None => address(&fields.text("coco_url")?.ok_or("\"file_name\": expected a text, found nothing")?)?,
    };
    Ok(Image { name, folder, size, annotations: Vec::new() })
}

/// The last folder and the name in the address of a picture, such as `http://images.cocodataset.org/val2017/000000397133.jpg`:
/// LVIS has nothing else.
fn address(url: &str) -> Result<(Option<String>, String), String> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let mut parts = path.split("://").last().unwrap_or_default().rsplit('/');
    let name = parts.next().filter(|name| !name.is_empty() && *name != "..");
    let name = name.ok_or_else(|| wrong("coco_url", "the address of a picture", &Value::from(url)))?;
    let folder = parts.next().filter(|folder| !["", ".."].contains(folder) && parts.next().is_some());
    Ok((folder.map(str::to_owned), name.to_owned()))
}

impl Image {
    /// Where it may be in the folder of pictures.
    fn paths(&self) -> Vec<String> {
        let inside = self.folder.as_ref().map(|folder| format!("{folder}/{}", self.name));
        inside.into_iter().chain([self.name.clone()]).collect()
    }
}

fn annotated(item: &Item<'_>) -> Result<Annotated, String> {
    let (length, number) = (u32::try_from(item.bytes.len()), u32::try_from(item.number));
    match (length, number) {
        (Ok(length), Ok(number)) => Ok(Annotated { offset: item.offset, length, number }),
        _ => Err("expected fewer annotations, found too many to count".into()),
    }
}
