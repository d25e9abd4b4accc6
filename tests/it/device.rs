//! The same maps on a GPU as on the CPU: `cargo test --features cuda --test it -- --ignored device` where there is one.

use std::path::Path;

use fieldmark::{
    Explainer, Photo, Query, Settings, attribution::METHODS, device::DeviceChoice, pipeline::LoadOptions,
    progress::Silent,
};

fn explainer(device: DeviceChoice) -> Explainer {
    let options = LoadOptions { device, ..LoadOptions::default() };
    Explainer::load_with("miniature", &options, &Silent).expect("the device is there")
}

#[test]
#[ignore = "needs a GPU"]
fn every_method_gives_the_maps_of_the_cpu() {
    let choice = if cfg!(feature = "cuda") { DeviceChoice::Cuda } else { DeviceChoice::Metal };
    let (cpu, gpu) = (explainer(DeviceChoice::Cpu), explainer(choice));
    let scene = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/images/red-winged-blackbird.png");
    let photo = Photo::open(scene).expect("a scene");
    for method in METHODS {
        let settings = Settings { method: Some(method.name().into()), ..Settings::default() };
        let query = Query::new("red-winged blackbird shoulder").against(["blue-winged blackbird shoulder"]);
        let query = query.with(settings);
        let [found, expected] =
            [&gpu, &cpu].map(|explainer| explainer.localize(&photo, &query).expect("a map").map);
        let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>().sqrt();
        let off = norm(&mut found.values().iter().zip(expected.values()).map(|(a, b)| a - b));
        let size = norm(&mut expected.values().iter().copied());
        println!("{}: {:.1e}", method.name(), off / size);
        assert!(off < 1e-3 * size, "{}: {off} of {size}", method.name());
    }
}
