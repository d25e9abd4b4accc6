//! A device that this build cannot use is refused; and where there is a GPU, its maps are those of the CPU:
//! `cargo test --features cuda --test it -- --ignored device`.

use std::path::Path;

use fieldmark::{
    Explainer, Photo, Query, Settings, attribution::METHODS, device::DeviceChoice, explain::LoadOptions,
    progress::Silent,
};

fn explainer(device: DeviceChoice) -> Explainer {
    let options = LoadOptions::default().device(device);
    Explainer::load_with("miniature", &options, &Silent).expect("the device exists")
}

#[test]
#[ignore = "needs a GPU"]
fn every_method_gives_the_maps_of_the_cpu() {
    let choice = if cfg!(feature = "cuda") { DeviceChoice::Cuda } else { DeviceChoice::Metal };
    let (cpu, gpu) = (explainer(DeviceChoice::Cpu), explainer(choice));
    let scene = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/images/red-winged-blackbird.png");
    let photo = Photo::open(scene).expect("a scene");
    for method in METHODS {
        let settings = Settings::default().method(Some(method.name().into()));
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

/// In one line, with nothing done, and the advice names the feature to build with.
#[test]
#[cfg(feature = "cli")]
fn a_device_that_was_not_compiled_in_is_refused() {
    let sandbox = crate::sandbox::Sandbox::new();
    let devices = [("cuda", cfg!(feature = "cuda")), ("metal", cfg!(feature = "metal"))];
    for (device, _) in devices.into_iter().filter(|(_, is_compiled_in)| !is_compiled_in) {
        let outcome = sandbox.localize("a bird", &["wide.png", "--device", device]);
        outcome.assert_refused(&[&format!("device {device}: this build has no support for it")]);
        let hints = outcome.hints();
        assert!(hints.len() == 1 && hints[0].contains(&format!("--features {device}")), "{outcome:#?}");
    }
}
