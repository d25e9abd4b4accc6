//! Data sets in their published layouts: what is asked, where the answers lie, and what is refused.

use std::path::{Path, PathBuf};

use fieldmark::{
    Result,
    dataset::{Ask, Dataset, Layout, Options, Picture, Place, PointLabels, PointUnit, Question, Truth},
    geometry::{Rect, Size},
};
use image::{GrayAlphaImage, LumaA, Rgb, RgbImage};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A data set that a test writes.
struct Set(TempDir);

impl Set {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder can be made"))
    }

    /// Writes files; a line `== NAME` begins each.
    fn of(files: &str) -> Self {
        let set = Self::new();
        for file in files.split("== ").skip(1) {
            let (name, text) = file.split_once('\n').expect("a name, then text");
            set.write(name, text);
        }
        set
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("has a folder")).expect("a folder can be made");
        std::fs::write(path, text).expect("a file can be written");
    }

    fn json(&self, name: &str, value: &Value) {
        self.write(name, value.to_string());
    }

    fn open(&self, options: &Options) -> Result<Dataset> {
        Dataset::open(self.0.path(), options)
    }

    /// What an error says behind the folder's path.
    fn reason(&self, options: &Options) -> String {
        let error = self.open(options).expect_err("the set is bad").to_string();
        let folder = format!("{}{}", self.0.path().display(), std::path::MAIN_SEPARATOR);
        error.replace(&folder, "").replace('\\', "/")
    }

    /// What the set warns of, with paths from its folder.
    fn warned(&self, options: &Options) -> Vec<String> {
        let folder = format!("{}{}", self.0.path().display(), std::path::MAIN_SEPARATOR);
        let dataset = self.open(options).expect("the set can be used");
        dataset.warnings().iter().map(|warning| warning.to_string().replace(&folder, "")).collect()
    }
}

fn pictures(dataset: &Dataset) -> Vec<Picture> {
    let pictures: Result<Vec<_>> = dataset.pictures().expect("it opens").collect();
    let pictures = pictures.expect("every picture is read");
    assert_eq!(pictures.len(), dataset.passes());
    pictures
}

/// The prompts of each picture.
fn prompts(pictures: &[Picture]) -> Vec<(&str, Vec<&str>)> {
    let named = pictures.iter().map(|picture| {
        let asked = picture.questions.iter().map(|question| question.prompt.as_str()).collect();
        (picture.name.as_str(), asked)
    });
    named.collect()
}

/// The pixels that are inside, in a photo of that size.
fn inside(question: &Question, size: Size) -> Vec<usize> {
    let mask = question.truth.mask(Path::new("photo"), size).expect("the truth fits").unwrap_or_default();
    (0..mask.len()).filter(|pixel| mask[*pixel]).collect()
}

fn asking(ask: &[Ask]) -> Options {
    Options::default().ask(ask.into())
}

fn points(yes: &[[f64; 2]], no: &[[f64; 2]], unit: PointUnit) -> Truth {
    Truth::Points(PointLabels { yes: yes.into(), no: no.into(), unit })
}

const CUB: &str = "== CUB_200_2011/images.txt
7 002.Laysan_Albatross/a.jpg
3 014.Indigo_Bunting/b.jpg
9 014.Indigo_Bunting/c.jpg
== CUB_200_2011/classes.txt
2 002.Laysan_Albatross
14 014.Indigo_Bunting
== CUB_200_2011/image_class_labels.txt
3 14
7 2
9 14
== CUB_200_2011/train_test_split.txt
3 1
7 0
9 0
== CUB_200_2011/bounding_boxes.txt
3 1.0 0.0 2.0 2.0
7 0.0 0.0 4.0 1.0
9 1.0 1.0 1.0 1.0
== CUB_200_2011/parts/parts.txt
1 beak
2 left wing
3 right wing
== CUB_200_2011/parts/part_locs.txt
3 1 0.0 0.0 0
3 2 1.5 1.0 1
3 3 4.0 2.0 1
7 1 0.5 2.5 1
7 2 0.0 0.0 0
7 3 0.0 0.0 0
== attributes.txt
1 has_bill_shape::curved_(up_or_down)
2 has_wing_color::blue
3 has_size::small_(5_-_9_in)
== CUB_200_2011/attributes/image_attribute_labels.txt
3 1 1 4 2.708
3 2 1 3 1.5
3 3 1 2 7.1
7 1 1 4 1.0
7 2 0 4 1.0
7 3 1 3 0 1.0 5.2
8 1 1 4 1.0
9 1 0 1 2.3
";

#[test]
fn cub_asks_about_species() {
    let set = Set::of(CUB);
    let dataset = set.open(&Options::default()).unwrap();
    assert_eq!((dataset.layout(), dataset.path()), (Layout::Cub, set.path("CUB_200_2011").as_path()));
    assert_eq!(dataset.concepts(), ["laysan albatross", "indigo bunting"]);
    let found = pictures(&dataset);
    assert_eq!(
        prompts(&found),
        [
            ("002.Laysan_Albatross/a.jpg", vec!["laysan albatross"]),
            ("014.Indigo_Bunting/b.jpg", vec!["indigo bunting"]),
            ("014.Indigo_Bunting/c.jpg", vec!["indigo bunting"]),
        ]
    );
    assert_eq!(found[1].path, set.path("CUB_200_2011/images/014.Indigo_Bunting/b.jpg"));
    let question = &found[1].questions[0];
    assert_eq!((question.id.as_deref(), question.line), (Some("3"), 2));
    assert_eq!(question.label.as_deref(), Some("014.Indigo_Bunting"));
    assert_eq!(question.truth, Truth::Box(Rect { x0: 1.0, y0: 0.0, x1: 3.0, y1: 2.0 }));
    assert_eq!(inside(question, Size::new(4, 3)), [1, 2, 5, 6]);
    for (split, expected) in [
        ("train", vec!["014.Indigo_Bunting/b.jpg"]),
        ("test", vec!["002.Laysan_Albatross/a.jpg", "014.Indigo_Bunting/c.jpg"]),
    ] {
        let part = set.open(&Options::default().split(Some(split.into()))).unwrap();
        assert_eq!(pictures(&part).iter().map(|picture| picture.name.clone()).collect::<Vec<_>>(), expected);
        assert_eq!(part.concepts(), dataset.concepts(), "rivals are of the whole set");
    }
}

#[test]
fn cub_has_segmentations_where_their_archive_lies() {
    let set = Set::of(CUB);
    let votes = [0, 51, 128, 129, 204, 255];
    let votes = GrayAlphaImage::from_fn(3, 2, |x, y| LumaA([votes[(y * 3 + x) as usize], 255]));
    set.write("segmentations/014.Indigo_Bunting/b.png", []);
    votes.save(set.path("segmentations/014.Indigo_Bunting/b.png")).unwrap();
    let found = pictures(&set.open(&Options::default()).unwrap());
    assert_eq!(inside(&found[1].questions[0], Size::new(3, 2)), [3, 4, 5]);
    let missing = found[2].questions[0].truth.mask(&found[2].path, Size::new(3, 2));
    assert!(missing.unwrap_err().to_string().contains("c.png"));
    let boxes = set.open(&Options::default().place(Place::Box)).unwrap();
    assert!(matches!(pictures(&boxes)[1].questions[0].truth, Truth::Box(_)));
    let elsewhere = Options::default().masks(Some(set.path("no")));
    let truth = pictures(&set.open(&elsewhere).unwrap())[1].questions[0].truth.clone();
    assert!(matches!(truth, Truth::MaskOf { path, .. } if path == set.path("no/014.Indigo_Bunting/b.png")));
}

#[test]
fn cub_asks_about_visible_parts_and_joins_left_and_right() {
    let set = Set::of(CUB);
    let dataset = set.open(&asking(&[Ask::Part])).unwrap();
    assert_eq!(
        dataset.concepts(),
        ["laysan albatross beak", "laysan albatross wing", "indigo bunting beak", "indigo bunting wing"]
    );
    let list = dataset.concept_list().unwrap().unwrap();
    assert_eq!(list.groups_of("indigo bunting wing"), ["indigo bunting"]);
    let found = pictures(&dataset);
    assert_eq!(
        prompts(&found),
        [
            ("002.Laysan_Albatross/a.jpg", vec!["laysan albatross beak"]),
            ("014.Indigo_Bunting/b.jpg", vec!["indigo bunting wing"]),
        ]
    );
    let wing = &found[1].questions[0];
    assert_eq!((wing.label.as_deref(), wing.part.as_deref()), (Some("left wing, right wing"), Some("wing")));
    assert_eq!((wing.line, wing.id.as_deref()), (2, Some("3 part 2")));
    assert_eq!(wing.truth, points(&[[1.5, 1.0], [4.0, 2.0]], &[], PointUnit::Pixel));
    // The second point lies on the right edge, which belongs to the last pixel.
    assert_eq!(inside(wing, Size::new(4, 3)), [5, 11]);
    set.json("words.json", &json!({"left wing": "wing to the left", "014.Indigo_Bunting": "finch"}));
    let options = asking(&[Ask::Part])
        .prompts(Some(set.path("words.json")))
        .part_phrase(Some("{part} of a {class}".into()));
    let found = pictures(&set.open(&options).unwrap());
    assert_eq!(prompts(&found)[1].1, ["wing to the left of a finch", "wing of a finch"]);
}

#[test]
fn cub_asks_about_attributes_where_the_parts_are() {
    let set = Set::of(CUB);
    let dataset = set.open(&asking(&[Ask::Attribute])).unwrap();
    assert_eq!(
        dataset.concepts(),
        ["curved (up or down) bill shape", "blue wing color", "small (5 - 9 in) size"]
    );
    let found = pictures(&dataset);
    assert_eq!(
        prompts(&found),
        [
            ("002.Laysan_Albatross/a.jpg", vec!["curved (up or down) bill shape", "small (5 - 9 in) size"]),
            ("014.Indigo_Bunting/b.jpg", vec!["curved (up or down) bill shape", "blue wing color"]),
        ]
    );
    let [albatross, bunting] = [&found[0].questions, &found[1].questions];
    assert_eq!(albatross[0].truth, points(&[[0.5, 2.5]], &[], PointUnit::Pixel));
    assert!(matches!(albatross[1].truth, Truth::Box(_)), "size is of the whole bird");
    assert_eq!(bunting[0].truth, Truth::Unknown, "the beak cannot be seen");
    assert_eq!(bunting[1].truth, points(&[[1.5, 1.0], [4.0, 2.0]], &[], PointUnit::Pixel));
    assert_eq!(albatross[1].label.as_deref(), Some("has_size::small_(5_-_9_in)"));
    assert_eq!((albatross[1].line, albatross[1].id.as_deref()), (6, Some("7 attribute 3")));
    let certain = asking(&[Ask::Class, Ask::Attribute]).certainty(Some(4));
    assert_eq!(prompts(&pictures(&set.open(&certain).unwrap()))[0].1.len(), 2);
    set.json("words.json", &json!({"has_wing_color::blue": "a bird with blue wings"}));
    let own = asking(&[Ask::Attribute]).prompts(Some(set.path("words.json")));
    assert_eq!(prompts(&pictures(&set.open(&own).unwrap()))[1].1[1], "a bird with blue wings");
}

#[test]
fn wrong_lines_of_cub_are_reported() {
    let reason = |name: &str, text: &str, ask: &[Ask]| {
        let set = Set::of(CUB);
        set.write(&format!("CUB_200_2011/{name}"), text);
        set.reason(&asking(ask).split(Some("test".into())))
    };
    let class = &[Ask::Class];
    let cases = [
        (
            "images.txt",
            "7 a.jpg\nx b.jpg",
            "images.txt: line 2: image id: expected a whole number, found \"x\"",
        ),
        ("images.txt", "7\n", "images.txt: line 1: path: expected a text, found nothing"),
        (
            "image_class_labels.txt",
            "7 5",
            "image_class_labels.txt: line 1: class id: expected a number of classes.txt, found \"5\"",
        ),
        (
            "image_class_labels.txt",
            "7 2\n3 2",
            "image_class_labels.txt: expected a class of picture 9, found none",
        ),
        (
            "train_test_split.txt",
            "7 2",
            "train_test_split.txt: line 1: is training image: expected 0 or 1, found \"2\"",
        ),
        (
            "classes.txt",
            "2 a\n2 b",
            "classes.txt: line 2: class id: expected each number once, found 2 again",
        ),
    ];
    for (name, text, expected) in cases {
        assert_eq!(reason(name, text, class), format!("CUB_200_2011/{expected}"));
    }
    // One odd line costs no other.
    let passed_over = |name: &str, text: &str, ask: &[Ask]| {
        let set = Set::of(CUB);
        set.write(&format!("CUB_200_2011/{name}"), text);
        set.warned(&asking(ask).split(Some("test".into())))
    };
    let boxes = |text: &str| passed_over("bounding_boxes.txt", text, class);
    let one = |name: &str, what: &str, first: &str| {
        vec![format!(
            "CUB_200_2011/{name}: {what} that cannot be used and are passed over: 1; the first is {first}"
        )]
    };
    let of_boxes = |first: &str| one("bounding_boxes.txt", "boxes", first);
    assert_eq!(
        boxes("7 NaN 1 2 3\n9 0 0 1 1"),
        of_boxes("line 1: x: expected a finite number, found \"NaN\"")
    );
    assert_eq!(
        boxes("9 0 0 1 1\n7 0 1 2 0"),
        of_boxes("line 2: width and height: expected numbers above 0, found \"2 x 0\"")
    );
    assert_eq!(boxes("7 0 0 1 1"), of_boxes("picture 9: expected a box, found none"));
    let part = passed_over("parts/part_locs.txt", "7 4 1 1 1\n7 1 1 1 1", &[Ask::Part]);
    let first = "line 1: part id: expected a number of parts.txt, found \"4\"";
    assert_eq!(part, one("parts/part_locs.txt", "lines", first));
    let labels = "attributes/image_attribute_labels.txt";
    let attribute = passed_over(labels, "7 1 7 4 1.0\n7 1 1 4 1.0", &[Ask::Attribute]);
    assert_eq!(attribute, one(labels, "lines", "line 1: is present: expected 0 or 1, found \"7\""));
    let cut = passed_over(labels, "7 1 1 4\n7 1 1", &[Ask::Attribute]);
    assert_eq!(cut, one(labels, "lines", "line 2: certainty: expected a number from 1 to 4, found nothing"));
    let split = Set::of(CUB).reason(&Options::default().split(Some("val".into())));
    assert_eq!(split, "split: expected train or test for cub, found \"val\"");
}

#[test]
fn a_folder_of_folders_asks_without_a_place() {
    let set = Set::of(
        "== train/b_dog/2.JPG\nx== train/b_dog/1.png\nx== train/014.Cat/z.webp\nx== train/014.Cat/notes.txt\nx== train/.git/x.png\nx== val/c/1.png\nx",
    );
    let dataset = set.open(&Options::default().split(Some("train".into()))).unwrap();
    assert_eq!(
        (dataset.layout(), dataset.concepts()),
        (Layout::Folder, &["cat".to_owned(), "b dog".into()][..])
    );
    let found = pictures(&dataset);
    assert_eq!(
        prompts(&found),
        [("014.Cat/z.webp", vec!["cat"]), ("b_dog/1.png", vec!["b dog"]), ("b_dog/2.JPG", vec!["b dog"])]
    );
    let question = &found[2].questions[0];
    assert_eq!((&question.truth, question.line), (&Truth::Unknown, 3));
    assert!(question.truth.is_present() && inside(question, Size::new(2, 2)).is_empty());
    assert_eq!(found[2].path, set.path("train/b_dog/2.JPG"));
    assert!(set.reason(&Options::default()).ends_with("expected a picture with a question, found none"));
    assert_eq!(set.reason(&asking(&[Ask::Part])), "ask: expected class for folder, found part");
    let split = Options::default().split(Some("../x".into()));
    assert_eq!(set.reason(&split), "split: expected a name, found \"../x\"");
    assert!(Set::new().reason(&Options::default()).contains("expected a data set laid out as manifest, cub"));
}

/// Two dogs and a crowd of cats on the first picture, nothing on the second, a cat's box on the third.
fn coco() -> Value {
    json!({
        "info": {"annotations": [1]},
        "annotations": [
            {"id": 5, "image_id": 1, "category_id": 18, "segmentation": [[0, 0, 2, 0, 2, 1, 0, 1]],
             "bbox": [0, 0, 2, 1], "iscrowd": 0},
            {"id": 6, "image_id": 3, "category_id": 17, "bbox": [1, 1, 2, 1]},
            {"id": 7, "image_id": 1, "category_id": 17, "segmentation": {"size": [3, 4], "counts": [2, 2, 8]},
             "bbox": [0, 0, 2, 3], "iscrowd": 1},
            {"id": 8, "image_id": 1, "category_id": 18, "bbox": [3, 2, 1, 1]},
        ],
        "images": [
            {"id": 1, "file_name": "one.jpg", "width": 4, "height": 3},
            {"id": 2, "file_name": "two.jpg", "width": 4, "height": 3},
            {"id": 3, "file_name": "three.jpg"},
        ],
        "categories": [
            {"id": 17, "name": "cat", "supercategory": "animal"},
            {"id": 18, "name": "sports_dog", "supercategory": "sports"},
        ],
    })
}

#[test]
fn coco_asks_once_about_all_instances_of_a_category() {
    let set = Set::new();
    set.json("annotations/instances_val2017.json", &coco());
    set.json("annotations/captions_val2017.json", &json!([]));
    set.write("val2017/two.jpg", "x");
    let dataset = set.open(&Options::default()).unwrap();
    assert_eq!(
        (dataset.layout(), dataset.concepts()),
        (Layout::Coco, &["cat".to_owned(), "sports dog".into()][..])
    );
    assert_eq!(dataset.concept_list().unwrap().unwrap().groups_of("cat"), ["animal"]);
    let found = pictures(&dataset);
    assert_eq!(prompts(&found), [("one.jpg", vec!["cat", "sports dog"]), ("three.jpg", vec!["cat"])]);
    assert_eq!(found[0].path, set.path("val2017/one.jpg"));
    let [cats, dogs] = &found[0].questions[..] else { panic!("two questions") };
    // Down the first column of three: the third pixel, and the first of the second column.
    assert_eq!(inside(cats, Size::new(4, 3)), [1, 8]);
    // The polygon of the one, the box of the other.
    assert_eq!(inside(dogs, Size::new(4, 3)), [0, 1, 11]);
    assert_eq!((cats.line, dogs.line, dogs.label.as_deref()), (3, 1, Some("sports_dog")));
    let other = dogs.truth.mask(Path::new("one.jpg"), Size::new(8, 6)).unwrap_err().to_string();
    assert_eq!(other, "one.jpg: expected a photo of 4 x 3 pixels, as its regions are, found 8 x 6");
    let boxes = pictures(&set.open(&Options::default().place(Place::Box)).unwrap());
    assert_eq!(inside(&boxes[0].questions[1], Size::new(4, 3)), [0, 1, 11]);
    assert_eq!(boxes[0].questions[1].truth.boxes().len(), 2);
    assert_eq!(found[1].questions[0].truth, Truth::Boxes(vec![Rect { x0: 1.0, y0: 1.0, x1: 3.0, y1: 2.0 }]));
    let part = set.reason(&asking(&[Ask::Part]));
    assert_eq!(
        part,
        "ask: expected class for categories that are no parts of their supercategory, found part"
    );
    // The file itself is a data set, too.
    let file = Dataset::open(set.path("annotations/instances_val2017.json"), &Options::default()).unwrap();
    assert_eq!(pictures(&file), found);
    let split = Options::default().split(Some("val".into()));
    let error =
        Dataset::open(set.path("annotations/instances_val2017.json"), &split).unwrap_err().to_string();
    assert_eq!(error, "split: expected none beside a file, found \"val\"");
}

#[test]
fn part_image_net_asks_about_parts_or_the_things_that_they_are_of() {
    let set = Set::new();
    let category = |id: u32, name: &str, group: &str| json!({"id": id, "name": name, "supercategory": group});
    let annotation = |id: u32, category: u32, x: u32| {
        json!({"id": id, "image_id": "n1", "category_id": category,
        "segmentation": [[x, 0, x + 1, 0, x + 1, 1, x, 1]]})
    };
    set.json(
        "train.json",
        &json!({
            "images": [{"id": "n1", "file_name": "n1/a.JPEG", "width": 3, "height": 1}],
            "categories": [category(0, "Quadruped Head", "Quadruped"), category(1, "Quadruped Foot", "Quadruped"),
                           category(2, "Car Body", "Car")],
            "annotations": [annotation(1, 1, 0), annotation(2, 0, 2), annotation(3, 1, 0)],
        }),
    );
    set.json("val.json", &json!({}));
    let ask = |ask: &[Ask]| asking(ask).split(Some("train".into()));
    let dataset = set.open(&ask(&[])).unwrap();
    let found = pictures(&dataset);
    assert_eq!(prompts(&found), [("n1/a.JPEG", vec!["quadruped head", "quadruped foot"])]);
    let head = &found[0].questions[0];
    assert_eq!((head.label.as_deref(), head.part.as_deref()), (Some("Quadruped Head"), Some("Head")));
    assert_eq!(dataset.concepts(), ["quadruped head", "quadruped foot", "car body"]);
    assert_eq!(dataset.concept_list().unwrap().unwrap().groups_of("car body"), ["car"]);
    let dataset = set.open(&ask(&[Ask::Class])).unwrap();
    let found = pictures(&dataset);
    assert_eq!((prompts(&found)[0].1.clone(), dataset.concepts().len()), (vec!["quadruped"], 2));
    assert_eq!(inside(&found[0].questions[0], Size::new(3, 1)), [0, 2]);
    let several = set.reason(&Options::default());
    assert!(several.ends_with("expected one file of annotations, found train.json, val.json"), "{several}");
}

#[test]
fn odd_entries_of_coco_are_passed_over_counted_and_the_first_is_named() {
    let changed = |change: &dyn Fn(&mut Value)| {
        let (set, mut value) = (Set::new(), coco());
        change(&mut value);
        set.json("a.json", &value);
        let dataset = set.open(&Options::default()).unwrap();
        let found = pictures(&dataset).iter().map(|picture| picture.questions.len()).collect::<Vec<_>>();
        (found, set.warned(&Options::default()))
    };
    let warning = |what: &str, count: usize, first: &str| {
        vec![format!("a.json: {what} that cannot be used and are passed over: {count}; the first is {first}")]
    };
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 10] = [
        (|one| one["image_id"] = json!(9), "\"image_id\": expected a picture's id, found 9"),
        (|one| one["image_id"] = json!(null), "\"image_id\": expected a number, found nothing"),
        (|one| one["category_id"] = json!(9), "\"category_id\": expected a category's id, found 9"),
        (|one| one["category_id"] = json!([]), "\"category_id\": expected a text, found []"),
        (|one| *one = json!("x"), "expected a JSON object, found \"x\""),
        (
            |one| *one = json!({"image_id": 1, "category_id": 17, "bbox": [1, 1, 1, null]}),
            "\"bbox\": expected [x, y, width, height], found [1,1,1,null]",
        ),
        (
            |one| *one = json!({"image_id": 1, "category_id": 17, "bbox": [1, 1, 0, 4]}),
            "\"bbox\": expected a width and a height above 0, found 0 x 4",
        ),
        (
            |one| one["segmentation"]["counts"] = json!("~"),
            "\"segmentation\": \"counts\": expected run lengths in COCO's compressed form, found \"~\"",
        ),
        (
            |one| one["segmentation"] = json!([[1, 1, 2, 2]]),
            "\"segmentation\": expected polygons [x, y, x, y, x, y, ...], found [1,1,2,2]",
        ),
        (
            // More pixels than any photo has, before there is memory for them.
            |one| {
                one["segmentation"] = json!({"size": [u32::MAX, u32::MAX], "counts": [0, u64::MAX, u64::MAX]})
            },
            "\"segmentation\": \"counts\": expected 18446744065119617025 pixels together, found more",
        ),
    ];
    for (change, expected) in cases {
        let found = changed(&|value| change(&mut value["annotations"][2]));
        let expected = warning("annotations", 1, &format!("\"annotations\", item 3: {expected}"));
        assert_eq!(found, (vec![1, 1], expected), "the cat of the first picture is lost, nothing else");
    }
    let image = changed(&|value| value["images"][1]["id"] = json!(1));
    let twice = "\"images\", item 2: \"id\": expected each picture once, found 1";
    assert_eq!(image, (vec![2, 1], warning("pictures", 1, twice)));
    let (found, several) = changed(&|value| {
        value["images"][2] = json!({"id": 3});
        value["categories"][1]["name"] = json!(7);
    });
    assert_eq!(found, [1]);
    let parts = ["pictures", "categories", "annotations"].map(|what| format!("a.json: {what} that"));
    assert!(
        several.iter().zip(&parts).all(|(warning, part)| warning.starts_with(part)) && several.len() == 3
    );
    assert!(several[2].contains("passed over: 3;"), "two dogs, and the cat of the lost picture: {several:?}");
}

#[test]
fn what_is_only_written_in_another_way_is_read_as_ever() {
    let set = Set::new();
    set.json("a.json", &coco());
    let sound = pictures(&set.open(&Options::default()).unwrap());
    let text = coco().to_string();
    let text = text.replace("\"width\":4", "\"width\":4.0").replace("\"id\":17", "\"id\":\"17\"");
    let text = text
        .replace("\"image_id\":1,", "\"image_id\":1.0,")
        .replace("\"iscrowd\":1", "\"area\":NaN,\"iscrowd\":\"yes\"");
    assert!(["4.0", "\"17\"", "1.0,", "NaN"].iter().all(|part| text.contains(part)), "{text}");
    set.write("a.json", text);
    let dataset = set.open(&Options::default()).unwrap();
    assert_eq!((pictures(&dataset), dataset.warnings()), (sound, &[][..]));
}

#[test]
fn lvis_names_pictures_by_their_address() {
    let set = Set::new();
    let mut value = coco();
    for (image, address) in value["images"].as_array_mut().unwrap().iter_mut().zip([
        "http://images.cocodataset.org/train2017/one.jpg",
        "http://images.cocodataset.org/val2017/two.jpg",
        "http://images.cocodataset.org/val2017/three.jpg?size=1",
    ]) {
        image["file_name"] = json!(null);
        image["coco_url"] = json!(address);
    }
    set.json("lvis_v1_val.json", &value);
    set.write("images/train2017/one.jpg", "x");
    set.write("images/three.jpg", "x");
    let dataset = set.open(&Options::default()).unwrap();
    let paths: Vec<_> = pictures(&dataset).into_iter().map(|picture| picture.path).collect();
    assert_eq!(paths, [set.path("images/train2017/one.jpg"), set.path("images/three.jpg")]);
    assert!(dataset.warnings().is_empty());
    value["images"][0]["coco_url"] = json!("http://host/a/..");
    set.json("lvis_v1_val.json", &value);
    assert!(set.warned(&Options::default())[0].contains("\"coco_url\": expected the address of a picture"));
}

/// The reports' files: a polygon of two points, a picture that was cut off, sides as floats; and their sound twin.
#[test]
fn reported_sets_equal_their_sound_twin() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/reports");
    let open = |name: &str| {
        let options = Options::default().images(Some(folder.join("coco")));
        Dataset::open(folder.join("coco").join(name), &options).unwrap()
    };
    let sound = pictures(&open("sound.json"));
    assert_eq!(sound.len(), 2);
    let cut = open("annotation_of_a_picture_that_was_cut.json");
    assert_eq!((pictures(&cut), cut.warnings().len()), (sound.clone(), 1));
    let floats = open("sides_as_floats.json");
    assert_eq!((pictures(&floats), floats.warnings().len()), (sound.clone(), 0));
    let short = open("polygon_of_two_points.json");
    assert_eq!((pictures(&short), short.warnings().len()), (sound[1..].to_vec(), 1));
    let voc = Dataset::open(folder.join("voc_camera_filename"), &Options::default()).unwrap();
    let paths: Vec<_> = pictures(&voc).into_iter().map(|picture| picture.path).collect();
    let jpeg = |name: &str| folder.join("voc_camera_filename/JPEGImages").join(name);
    assert_eq!((paths, voc.warnings()), (vec![jpeg("a.jpg"), jpeg("b.jpg")], &[][..]));
}

#[test]
fn what_no_picture_can_be_made_of_ends_a_set_of_coco() {
    let nothing = {
        let (set, mut value) = (Set::new(), coco());
        value["annotations"] = json!([]);
        set.json("a.json", &value);
        set.reason(&Options::default())
    };
    assert_eq!(nothing, "a.json: expected a picture with a question, found none");
    // A picture's annotations are in memory together.
    let set = Set::new();
    let one = json!({"image_id": 1, "category_id": 17, "bbox": [0, 0, 1, 1], "more": "x".repeat(3 << 20)});
    let annotations = vec![one.to_string(); 22].join(",");
    let rest = coco();
    set.write(
        "a.json",
        format!(
            "{{\"images\": {}, \"categories\": {}, \"annotations\": [{annotations}]}}",
            rest["images"], rest["categories"]
        ),
    );
    assert_eq!(
        set.reason(&Options::default()),
        "a.json: \"annotations\", item 22: expected at most 67108864 bytes about one picture, found more"
    );
    let deep = Set::new();
    deep.write("a.json", format!("{{\"annotations\": [{}", "[".repeat(100_000)));
    assert!(deep.reason(&Options::default()).contains("expected the rest of a JSON value, found the end"));
}

const POINTS: &str = "== oidv7-val-annotations-point-labels.csv
ImageId,X,Y,Label,EstimatedYesNo,Source,YesVotes,NoVotes,UnsureVotes,TextLabel
aa,0.5,0.25,/m/dog,yes,ih,3,0,0,Dog
aa,1.0,1.0,/m/dog,no,ih,0,3,0,Dog
bb,0.1,0.1,/m/cat,unsure,ih,0,0,3,\"Cat, small\"
bb,0.1,0.9,/m/pet,yes,ih,0,0,3,Pet
aa,0.0,0.0,/m/cat,no,ih,0,3,0,\"Cat, small\"
aa,0.25,0.5,/m/dog,yes,ih,3,0,0,Dog
cc,0.25,0.5,/m/cat,yes,ih,3,0,0,\"Cat, small\"
";

#[test]
fn open_images_asks_about_labels_that_a_point_shows() {
    let set = Set::of(POINTS);
    set.write("validation/bb.jpg", "x");
    let dataset = set.open(&Options::default()).unwrap();
    assert_eq!(dataset.layout(), Layout::OpenImages);
    assert_eq!(dataset.concepts(), ["dog", "pet", "cat, small"]);
    let found = pictures(&dataset);
    assert_eq!(prompts(&found), [("aa", vec!["dog"]), ("bb", vec!["pet"]), ("cc", vec!["cat, small"])]);
    assert_eq!(found[0].path, set.path("validation/aa.jpg"));
    let dog = &found[0].questions[0];
    assert_eq!(dog.truth, points(&[[0.5, 0.25], [0.25, 0.5]], &[[1.0, 1.0]], PointUnit::Share));
    assert_eq!((dog.line, dog.label.as_deref(), dog.id.as_deref()), (2, Some("/m/dog"), Some("aa /m/dog")));
    // Column 2 of row 1, column 1 of row 2, of 4 x 4.
    assert_eq!(inside(dog, Size::new(4, 4)), [6, 9]);
    set.write("oidv7-class-descriptions.csv", "/m/dog,\"Hound, \"\"wild\"\"\"\n/m/pet,Pet animal\n");
    set.json(
        "bbox_labels_hierarchy.json",
        &json!({"LabelName": "/m/entity", "Subcategory": [{"LabelName": "/m/pet", "Subcategory": [
            {"LabelName": "/m/dog"}, {"LabelName": "/m/cat", "Subcategory": []}]}]}),
    );
    let dataset = set.open(&Options::default()).unwrap();
    assert_eq!(dataset.concepts(), ["hound, \"wild\"", "pet animal", "cat, small"]);
    let list = dataset.concept_list().unwrap().unwrap();
    assert_eq!(list.groups_of("cat, small"), ["pet animal"]);
    assert_eq!(list.candidates("cat, small"), ["hound, \"wild\""]);
    set.json("words.json", &json!({"/m/dog": "animal", "/m/cat": "animal"}));
    let found = pictures(&set.open(&Options::default().prompts(Some(set.path("words.json")))).unwrap());
    let animal = &found[0].questions[0];
    assert_eq!((animal.prompt.as_str(), animal.label.as_deref()), ("animal", Some("/m/dog, /m/cat")));
    assert_eq!(
        animal.truth,
        points(&[[0.5, 0.25], [0.25, 0.5]], &[], PointUnit::Share),
        "a no is of one label"
    );
}

#[test]
fn wrong_lines_of_open_images_are_reported() {
    let reason = |text: &str| {
        let set = Set::new();
        set.write("a-annotations-point-labels.csv", text);
        set.reason(&Options::default()).replace("a-annotations-point-labels.csv: ", "")
    };
    let head = "ImageId,X,Y,Label,EstimatedYesNo\n";
    // A set without another line says what is wrong with the first.
    let line = |line: &str| {
        let reason = reason(&format!("{head}{line}"));
        let first = reason.split_once("the first is ").map(|(_, first)| first.to_owned());
        first.unwrap_or(reason)
    };
    assert_eq!(reason(""), "expected a table of points, found no line");
    assert_eq!(reason("ImageId,X"), "line 1: expected a column Y, found \"ImageId,X\"");
    assert_eq!(line("a,0.5,1.5,/m/x,yes"), "line 2: Y: expected a number from 0 to 1, found \"1.5\"");
    assert_eq!(line("a,NaN,0.5,/m/x,yes"), "line 2: X: expected a number from 0 to 1, found \"NaN\"");
    assert_eq!(
        line("a,0,0,/m/x,maybe"),
        "line 2: EstimatedYesNo: expected yes, no or unsure, found \"maybe\""
    );
    assert_eq!(line("a,0,0,/m/x"), "line 2: EstimatedYesNo: expected a text, found \"\"");
    assert_eq!(line("a,0,0,/m/x,no"), "expected a picture with a question, found none");
    assert!(line("\"a,0,0,/m/x,no").starts_with("line 2: "));
    let set = Set::of(POINTS);
    let sound = pictures(&set.open(&Options::default()).unwrap());
    let (start, end) = POINTS[3..].split_once('\n').unwrap().1.split_once("bb,").unwrap();
    set.write("oidv7-val-annotations-point-labels.csv", format!("{start}aa,2,0,/m/dog,yes\nx\nbb,{end}"));
    let dataset = set.open(&Options::default()).unwrap();
    let found = pictures(&dataset);
    assert_eq!((prompts(&found), dataset.warnings().len()), (prompts(&sound), 1));
    assert!(set.warned(&Options::default())[0].contains("passed over: 2; the first is line 4: X: expected"));
}

/// A bird of class 3 with a beak and one foot, and one of class 1 without a visible part.
fn funny_birds() -> Set {
    let set = Set::new();
    set.json("dataset_test.json", &json!([{"class_idx": 3, "beak_model": "b"}, {"class_idx": 1}]));
    let colours = [[255, 255, 0], [0, 0, 0], [255, 0, 2], [0, 0, 0]];
    let map = RgbImage::from_fn(4, 1, |x, _| Rgb(colours[x as usize]));
    set.write("test_part_map/3/000000.png", []);
    map.save(set.path("test_part_map/3/000000.png")).unwrap();
    set.write("test_part_map/1/000001.png", []);
    RgbImage::new(4, 1).save(set.path("test_part_map/1/000001.png")).unwrap();
    set
}

#[test]
fn funny_birds_asks_about_species_and_coloured_parts() {
    let set = funny_birds();
    let dataset = set.open(&asking(&[Ask::Class, Ask::Part])).unwrap();
    assert_eq!(dataset.layout(), Layout::FunnyBirds);
    let expected =
        ["funny bird 1", "bird eye", "bird beak", "bird foot", "bird wing", "bird tail", "funny bird 3"];
    assert_eq!(dataset.concepts(), expected);
    let found = pictures(&dataset);
    assert_eq!(found[0].path, set.path("test/3/000000.png"));
    assert_eq!(found[0].questions.len(), 6);
    let size = Size::new(4, 1);
    let places: Vec<_> = found[0].questions.iter().map(|question| inside(question, size)).collect();
    assert_eq!(places, [vec![0, 2], vec![], vec![0], vec![2], vec![], vec![]]);
    assert_eq!(found[0].questions[3].part.as_deref(), Some("foot"));
    // A bird of which nothing can be seen is no answer, but a hidden part is none that fails.
    assert!(found[1].questions[0].truth.mask(&found[1].path, size).is_err());
    assert_eq!(found[1].questions[2].truth.mask(&found[1].path, size).unwrap(), None);
    set.json("words.json", &json!({"3": "yellow bird", "foot": "leg"}));
    let options = asking(&[Ask::Class, Ask::Part])
        .prompts(Some(set.path("words.json")))
        .part_phrase(Some("{class} {part}".into()));
    let found = pictures(&set.open(&options).unwrap());
    assert_eq!((prompts(&found)[0].1[0], prompts(&found)[0].1[3]), ("yellow bird", "yellow bird leg"));
}

#[test]
fn funny_birds_without_maps_have_no_place() {
    let set = Set::of("== dataset_train.json\n[{\"class_idx\": 0}]");
    let train = |ask: &[Ask]| asking(ask).split(Some("train".into()));
    assert_eq!(pictures(&set.open(&train(&[])).unwrap())[0].questions[0].truth, Truth::Unknown);
    assert!(
        set.reason(&train(&[Ask::Part]))
            .ends_with("expected a folder train_part_map with the places of parts, found none")
    );
    assert!(set.reason(&Options::default()).starts_with("dataset_test.json: cannot be read"));
    set.write("dataset_test.json", "[{\"class_idx\": 1}, {\"class_idx\": -1}]");
    let first = "item 2: \"class_idx\": expected a number of a class, found -1";
    let expected = format!(
        "dataset_test.json: pictures that cannot be used and are passed over: 1; the first is {first}"
    );
    assert_eq!(set.warned(&Options::default()), [expected]);
    set.write("dataset_test.json", "[{\"class_idx\": -1}, {\"class_idx\": 1}]");
    assert_eq!(pictures(&set.open(&Options::default()).unwrap())[0].name, "1/000001.png", "by its place");
}

const VOC: &str = "== Annotations/b.xml
<?xml version=\"1.0\"?>
<annotation>
  <filename>b.png</filename>
  <object>
    <name>dog</name><difficult>1</difficult>
    <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>1</ymax></bndbox>
    <part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>1</xmax><ymax>1</ymax></bndbox></part>
  </object>
  <object><name>pottedplant</name><bndbox><xmin>3</xmin><ymin>1</ymin><xmax>3</xmax><ymax>2</ymax></bndbox></object>
  <object><name>dog</name><bndbox><xmin>4.0</xmin><ymin>2</ymin><xmax>4</xmax><ymax>2</ymax></bndbox></object>
</annotation>
== Annotations/a.xml
<annotation><filename>a</filename><object><name>dog</name>
<bndbox><xmax>4</xmax><xmin>1</xmin><ymin>2</ymin><ymax>2</ymax></bndbox></object></annotation>
== Annotations/empty.xml
<annotation/>
== JPEGImages/a.jpg
x
== ImageSets/Main/train.txt
b  1
empty -1
";

#[test]
fn voc_asks_about_things_and_parts() {
    let set = Set::of(VOC);
    set.json("words.json", &json!({"pottedplant": "potted plant"}));
    let options = Options::default().prompts(Some(set.path("words.json")));
    let dataset = set.open(&options).unwrap();
    assert_eq!(
        (dataset.layout(), dataset.concepts()),
        (Layout::Voc, &["dog".to_owned(), "potted plant".into()][..])
    );
    let found = pictures(&dataset);
    assert_eq!(prompts(&found), [("a", vec!["dog"]), ("b", vec!["dog", "potted plant"])]);
    assert_eq!(
        (&found[0].path, &found[1].path),
        (&set.path("JPEGImages/a.jpg"), &set.path("JPEGImages/b.png"))
    );
    // Edges are the first and last pixel, from 1 on: both dogs of a photo of 4 x 2.
    assert_eq!(inside(&found[1].questions[0], Size::new(4, 2)), [0, 1, 7]);
    assert_eq!(inside(&found[1].questions[1], Size::new(4, 2)), [2, 6]);
    assert_eq!((found[1].questions[0].line, found[1].questions[1].line), (4, 9));
    let parts = asking(&[Ask::Part]).split(Some("train".into()));
    let dataset = set.open(&parts).unwrap();
    assert_eq!(prompts(&pictures(&dataset)), [("b", vec!["dog head"])]);
    assert_eq!(dataset.concept_list().unwrap().unwrap().groups_of("dog head"), ["dog"]);
}

#[test]
fn odd_xml_is_passed_over_counted_and_the_first_is_named() {
    let check = |text: &str, expected: &[&str]| {
        let set = Set::of(VOC);
        set.write("Annotations/b.xml", text);
        let dataset = set.open(&Options::default()).unwrap();
        let found = pictures(&dataset);
        assert_eq!(prompts(&found)[0], ("a", vec!["dog"]));
        let first = |warning: &String| warning.split_once("the first is ").unwrap().1.to_owned();
        let warnings = set.warned(&Options::default());
        assert_eq!(warnings.len(), expected.len());
        for (warning, expected) in warnings.iter().map(first).zip(expected) {
            assert!(warning.starts_with(expected), "{warning}");
        }
    };
    let object = |inside: &str, expected: &str| {
        check(&format!("<annotation>\n<object>{inside}</object></annotation>"), &[expected]);
    };
    let boxed = |edges: &str, expected: &str| {
        object(&format!("<name>dog</name><bndbox>{edges}</bndbox>"), expected);
    };
    check("<annotation>", &["Annotations/b.xml: expected XML, found an error: "]);
    object("", "b.xml: line 2: name: expected a text, found nothing");
    object("<name>dog</name>", "b.xml: line 2: bndbox: expected a box, found nothing");
    boxed("<xmin>inf</xmin>", "b.xml: line 2: xmin: expected a finite number, found \"inf\"");
    boxed(
        "<xmin>3</xmin><ymin>1</ymin><xmax>1</xmax><ymax>1</ymax>",
        "b.xml: line 2: bndbox: expected a width and a height above 0, found -1 x 1",
    );
    let bomb = "<!DOCTYPE a [<!ENTITY x \"aa\"><!ENTITY y \"&x;&x;\">]><annotation>&y;</annotation>";
    check(bomb, &["Annotations/b.xml: expected XML, found an error"]);
    check(&"<a>".repeat(300_000), &["Annotations/b.xml: expected XML, found an error"]);
    // The others of the same file count.
    let set = Set::of(VOC);
    let odd = VOC[21..VOC.find("== Annotations/a").unwrap()].replacen("<xmin>3<", "<xmin>9<", 1);
    set.write("Annotations/b.xml", odd.trim_start());
    assert_eq!(prompts(&pictures(&set.open(&Options::default()).unwrap()))[1], ("b", vec!["dog"]));
    let all = Set::of("== Annotations/a.xml\n<annotation>== JPEGImages/a.jpg\nx");
    let reason = all.reason(&Options::default());
    assert!(
        reason.contains("found none; ") && reason.contains("Annotations/a.xml: expected XML"),
        "{reason}"
    );
    let missing = Set::of(VOC).reason(&Options::default().split(Some("val".into())));
    assert!(missing.starts_with("ImageSets/Main/val.txt: cannot be read"), "{missing}");
}

#[test]
fn voc_finds_a_picture_by_the_xmls_name_then_by_what_it_says() {
    let set = Set::new();
    let xml = |name: &str, filename: &str| {
        let object = "<object><name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></object>";
        set.write(
            &format!("Annotations/{name}.xml"),
            format!("<annotation><filename>{filename}</filename>{object}</annotation>"),
        );
    };
    for (name, filename) in [
        ("a", "DSC_1.JPG"),
        ("b", "C:\\photos\\DSC_2.jpg"),
        ("c", "some/where/dsc_3.png"),
        ("d", "d"),
        ("e", "missing.jpg"),
        ("f.x", ""),
    ] {
        xml(name, filename);
    }
    for name in ["a.jpeg", "DSC_1.JPG", "DSC_2.jpg", "DSC_3.JPEG", "D.PNG", "f.x.webp", "f.jpg"] {
        set.write(&format!("JPEGImages/{name}"), "x");
    }
    let found = pictures(&set.open(&Options::default()).unwrap());
    let paths: Vec<_> = found.into_iter().map(|picture| picture.path).collect();
    let expected = ["a.jpeg", "DSC_2.jpg", "DSC_3.JPEG", "D.PNG", "missing.jpg", "f.x.webp"];
    assert_eq!(paths, expected.map(|name| set.path(&format!("JPEGImages/{name}"))));
}

#[test]
fn manifests_are_data_sets_that_say_everything_themselves() {
    let set = Set::of("== manifest.jsonl\n{\"image\": \"a.png\", \"prompt\": \"dog\", \"point\": [1, 1]}\n");
    let dataset = set.open(&Options::default()).unwrap();
    assert_eq!((dataset.layout(), dataset.passes()), (Layout::Manifest, 1));
    assert!(dataset.concepts().is_empty() && dataset.concept_list().unwrap().is_none());
    assert_eq!(set.reason(&asking(&[Ask::Class])), "ask: expected nothing for manifest, found class");
    let refused = |options: Options| set.reason(&options);
    let none = |option: &str| format!("{option}: expected none for manifest, found one");
    assert_eq!(refused(Options::default().split(Some("a".into()))), none("split"));
    assert_eq!(refused(Options::default().place(Place::Box)), none("place"));
    assert_eq!(refused(Options::default().masks(Some("a".into()))), none("masks"));
    assert_eq!(refused(Options::default().prompts(Some("a".into()))), none("prompts"));
}

#[test]
fn a_picture_with_many_questions_is_looked_at_several_times() {
    let set = Set::new();
    let number = |id: u32| json!({"id": id, "name": format!("thing {id}"), "image_id": 0, "category_id": id, "bbox": [0, 0, 1, 1]});
    let all: Vec<_> = (0..130).map(number).collect();
    set.json(
        "a.json",
        &json!({"images": [{"id": 0, "file_name": "a"}], "categories": all, "annotations": all}),
    );
    let found = pictures(&set.open(&Options::default()).unwrap());
    assert_eq!(found.iter().map(|picture| picture.questions.len()).collect::<Vec<_>>(), [64, 64, 2]);
    assert!(found.iter().all(|picture| picture.name == "a"));
}

#[test]
fn files_of_prompts_are_checked() {
    let reason = |text: &str| {
        let set = Set::of(CUB);
        set.write("words.json", text);
        set.reason(&Options::default().prompts(Some(set.path("words.json"))))
    };
    assert_eq!(reason("{\"a\": \" \"}"), "words.json: \"a\": expected a prompt, found a blank text");
    assert!(reason("[]").starts_with("words.json: expected a JSON object of texts, found an error: "));
    let phrase = Options::default().class_phrase(Some("a bird".into()));
    assert_eq!(
        Set::of(CUB).reason(&phrase),
        "class_phrase: expected a text with {class} in it, found \"a bird\""
    );
}
