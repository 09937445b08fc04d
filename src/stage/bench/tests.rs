use super::*;
use crate::config::{DeviceChoice, DtypeChoice, TrainBenchConfig, TrainedPart};

fn config(dtype: DtypeChoice) -> BenchConfig {
    BenchConfig {
        device: DeviceChoice::Cpu,
        dtype,
        shape: Shape::Tiny,
        model: None,
        batches: vec![1, 3],
        context: 20,
        steps: 8,
        prefill: 40,
    }
}

#[tokio::test]
async fn speed_has_a_figure_for_everything_that_was_asked() {
    let speed = speed(&config(DtypeChoice::Auto)).await.unwrap();
    assert_eq!((speed.device.as_str(), speed.dtype, speed.model.as_str()), ("cpu", "f32", "tiny"));
    let batches: Vec<usize> = speed.decode.iter().map(|decode| decode.batch).collect();
    assert_eq!(batches, [1, 3]);
    let figures = speed.decode.iter().flat_map(|decode| [decode.tokens_s, decode.bandwidth_share]);
    let figures = figures.chain([speed.bandwidth_gb_s, speed.prefill_tokens_s]);
    assert!(figures.into_iter().all(|figure| figure.is_finite() && figure > 0.0), "{speed:?}");
}

#[tokio::test]
async fn the_cpu_is_near_itself_in_f32_and_further_in_bf16() {
    let same = parity(&config(DtypeChoice::F32)).await.unwrap();
    assert!(same.within && same.logits_off == 0.0 && same.argmax_same == 1.0, "{same:?}");
    let rounded = parity(&config(DtypeChoice::Bf16)).await.unwrap();
    assert!(rounded.within && rounded.logits_off > 1e-5, "{rounded:?}");
}

fn training(mode: TrainedPart, dtype: DtypeChoice) -> TrainBenchConfig {
    TrainBenchConfig {
        device: DeviceChoice::Cpu,
        dtype,
        shape: Shape::Tiny,
        mode,
        rank: 4,
        batch: 3,
        length: 24,
        shared: 10,
        unshared: false,
        rows: 1024,
        steps: 2,
    }
}

#[test]
fn steps_lower_the_loss_and_have_a_figure_for_everything() {
    for mode in [TrainedPart::All, TrainedPart::Lora] {
        let apart = TrainBenchConfig { unshared: true, ..training(mode, DtypeChoice::F32) };
        // on several threads a batch as small as this one is dealt out, and shares nothing
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let (packed, apart) = one_thread.install(|| {
            (train(&training(mode, DtypeChoice::F32)).unwrap(), train(&apart).unwrap())
        });
        assert_eq!((packed.rows, apart.rows), (10 + 3 * 13, 3 * 23));
        assert!((packed.losses[0] - apart.losses[0]).abs() < 1e-5, "{packed:?} {apart:?}");
        for speed in [&packed, &apart] {
            assert!(speed.losses[1] < speed.losses[0], "{speed:?}");
            assert!(speed.seconds > 0.0 && speed.tokens_s > 0.0, "{speed:?}");
        }
    }
}

#[test]
fn gradients_of_the_cpu_are_its_own_in_f32_and_near_in_bf16() {
    for mode in [TrainedPart::All, TrainedPart::Lora] {
        let same = train_parity(&training(mode, DtypeChoice::F32)).unwrap();
        assert!(same.within && same.gradient_off == 0.0, "{same:?}");
        let rounded = train_parity(&training(mode, DtypeChoice::Bf16)).unwrap();
        assert!(rounded.within && rounded.gradient_off > 1e-5, "{rounded:?}");
    }
}
