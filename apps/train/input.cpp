#include "apps/train/input.h"

#include "models/classifier.h"

namespace vitrine::apps {
namespace {

/// Runs `make`; values that it does not take are wrong flags.
template <class F>
auto from_flags(F&& make) {
  try {
    return make();
  } catch (const ValueError& e) {
    throw UsageError(e.what());
  } catch (const NotImplemented& e) {
    throw UsageError(e.what());
  }
}

}  // namespace

data::Preprocessing input_of(const TrainConfig& config, const data::Dataset& dataset) {
  data::Preprocessing input = dataset.preprocessing();
  if (dataset.one_size()) return input;
  const int64_t size =
      config.image_size ? config.image_size : models::make_classifier({.blank = true}, config.model)->image_size();
  input.height = input.width = size;
  input.crop = size > data::kSmallInput ? config.eval_crop_ratio : 1;
  return input;
}

data::LoaderOptions loader_options(const TrainConfig& config, const data::Dataset& dataset,
                                   const data::Preprocessing& input, int64_t classes, int workers) {
  return from_flags([&] {
    data::LoaderOptions options{.batch_size = config.batch_size,
                                .shuffle = true,
                                .drop_last = true,
                                .seed = config.seed,
                                .workers = workers,
                                .repeats = config.repeated_aug ? 3 : 1,
                                .accumulate = config.accum,
                                .preprocessing = input};
    options.augment = {.flip = config.flip,
                       .pad_crop = config.pad_crop,
                       .resized_crop = !dataset.one_size() && input.height > data::kSmallInput &&
                                       config.pad_crop == 0 && !config.simple_crop,
                       .simple_crop = config.simple_crop,
                       .scale = {config.scale.at(0), config.scale.at(1)},
                       .ratio = {config.ratio.at(0), config.ratio.at(1)},
                       .three_augment = config.three_augment,
                       .color_jitter = config.color_jitter,
                       .interpolation = data::parse_interpolation(config.train_interpolation),
                       .erasing = {.probability = config.reprob,
                                   .mode = data::parse_erasing_mode(config.remode),
                                   .count = int(config.recount)}};
    if (!config.aa.empty() && config.aa != "none") options.augment.policy = data::RandAugment::parse(config.aa);
    options.mixing = {.mixup = config.mixup,
                      .cutmix = config.cutmix,
                      .probability = config.mixup_prob,
                      .switch_probability = config.mixup_switch_prob,
                      .mode = data::parse_mixing_mode(config.mixup_mode),
                      .group = config.mix_group,
                      .label_smoothing = config.bce_loss ? 0 : config.label_smoothing,
                      .classes = classes};
    if (config.bce_loss) options.binary_smoothing = config.label_smoothing;
    if (!config.cutmix_minmax.empty())
      options.mixing.cutmix_minmax = {config.cutmix_minmax[0], config.cutmix_minmax[1]};
    options.augment.check_ranges();
    options.mixing.check_ranges();
    return options;
  });
}

}  // namespace vitrine::apps
