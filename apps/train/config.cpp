#include "apps/train/config.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/classifier/checkpoint_flags.h"
#include "apps/classifier/whole_number.h"

namespace vitrine::apps {
namespace {

using Json = nlohmann::ordered_json;

/// Calls visit(key, member, help) for every member, in order: the one list of what a configuration holds. The flag of a
/// key is --key with dashes.
template <class Config, class Visit>
void for_each_setting(Config& c, Visit&& visit) {
  visit("model", c.model, "model to train; see vitrine models");
  visit(
      "data", c.data,
      "fashion-mnist[:DIR], mnist:DIR, kmnist:DIR, cifar10:DIR, cifar100:DIR, imagefolder:DIR, multilabel:DIR, shapes, "
      "resized:DATA");
  visit("image_size", c.image_size, "side of the input in pixels (default: the data's, or the model's for a folder)");
  visit("num_classes", c.num_classes, "outputs of the head (default: the data's)");
  visit("rpe", c.rpe,
        "relative positions: as rpe-1.9-product-ctx-1-k, shaw or none; in DeiT also transformer-xl, huang, sasa, "
        "axial (default: the model's)");
  visit("ape", c.ape, "absolute positions: learned, sincos, none or peg, CPVT's generators (default: the model's)");
  visit("finetune", c.finetune, "weights to start from: .pth, .safetensors, .npz; head and image size may differ");
  visit("pos_resize", c.pos_resize, "of their positions: bicubic, as DeiT's program, or bicubic-aa, as timm");
  visit("epochs", c.epochs, "passes over the training images");
  visit("batch_size", c.batch_size, "images in a pass forward and backward");
  visit("accum", c.accum, "passes whose gradients are averaged for one step, of --batch-size times as many images");
  visit("opt", c.opt, "adamw or sgd");
  visit("opt_betas", c.opt_betas, "of adamw: decay of the averages of the gradient and of its square");
  visit("opt_eps", c.opt_eps, "of adamw: added to the root of the average of squares");
  visit("lr", c.lr, "peak learning rate");
  visit("scale_lr", c.scale_lr, "--lr is for 512 images a step: multiply it by the images of a step / 512");
  visit("min_lr", c.min_lr, "learning rate at the end of the cosine");
  visit("warmup_lr", c.warmup_lr, "learning rate of the first step");
  visit("warmup_epochs", c.warmup_epochs, "epochs of linear warm-up");
  visit("sched_on_epochs", c.sched_on_epochs,
        "change the rate once an epoch, as the reference: epochs 0 and 1 have the first rate, e that of e - 1");
  visit("weight_decay", c.weight_decay,
        "decay of all but biases (Swin's of positions too), norms, cls_token and pos_embed");
  visit("decay_rpe", c.decay_rpe, "decay iRPE's tables too, as the published program; off: not, as its paper says");
  visit("momentum", c.momentum, "of sgd (Nesterov)");
  visit("clip_grad", c.clip_grad, "largest norm of the gradient (0: no limit)");
  visit("bce_loss", c.bce_loss,
        "binary cross-entropy, where every class of a mixed image counts in full; for data with several classes too");
  visit("label_smoothing", c.label_smoothing, "part of the target that all classes share");
  visit("drop_path", c.drop_path, "rate of stochastic depth in the last block");
  visit("dropout", c.dropout, "rate of dropout");
  visit("ema", c.ema, "decay of averaged weights (0: none)");
  visit("train_mode", c.train_mode, "train with dropout and stochastic depth; off: as in evaluation");
  visit("teacher_model", c.teacher_model, "model of --teacher-path; a checkpoint of vitrine train states its own");
  visit("teacher_path", c.teacher_path, "the teacher: a checkpoint of vitrine train, or weights");
  visit("distillation_type", c.distillation_type,
        "none, soft or hard: what the head of the distillation token learns from the teacher");
  visit("distillation_alpha", c.distillation_alpha, "weight of the teacher");
  visit("distillation_tau", c.distillation_tau, "temperature of soft");
  visit("distillation_norm", c.distillation_norm,
        "soft divides by numel, as DeiT's program (classes times less than its paper), or by batch");
  visit("flip", c.flip, "mirror half of the images");
  visit("scale", c.scale, "smallest and largest part of the area that the random resized crop takes");
  visit("ratio", c.ratio, "its smallest and largest ratio of width to height");
  visit("pad_crop", c.pad_crop, "pad by so many pixels, then crop at random; for folders, instead of the resized crop");
  visit("simple_crop", c.simple_crop,
        "resize to the input's size, mirror 4 pixels around, crop at random; instead of the resized crop");
  visit("three_augment", c.three_augment,
        "one of grey, solarize and blur, instead of --aa; with --color-jitter 0.3 the 3-Augment of DeiT III");
  visit("aa", c.aa, "policy, as rand-m9-mstd0.5-inc1, or none");
  visit("train_interpolation", c.train_interpolation, "bicubic, bilinear or random");
  visit("color_jitter", c.color_jitter, "strength of changes of brightness, contrast and colour; not with --aa");
  visit("reprob", c.reprob, "probability of erasing a box");
  visit("remode", c.remode, "pixel, rand or const: what stands in the box");
  visit("recount", c.recount, "boxes at most");
  visit("mixup", c.mixup, "alpha of mixup (0: off)");
  visit("cutmix", c.cutmix, "alpha of CutMix (0: off)");
  visit("cutmix_minmax", c.cutmix_minmax, "smallest and largest part of a side that CutMix takes, instead of --cutmix");
  visit("mixup_prob", c.mixup_prob, "probability of mixing at all");
  visit("mixup_switch_prob", c.mixup_switch_prob, "probability of CutMix where both are on");
  visit("mixup_mode", c.mixup_mode, "batch, pair or elem: which images share one draw");
  visit("mix_group", c.mix_group, "images that mix among themselves, and of one process of --repeated-aug");
  visit("repeated_aug", c.repeated_aug, "three versions of a third of the images in each epoch");
  visit("eval_crop_ratio", c.eval_crop_ratio, "part of the shorter side that an evaluation on a folder sees");
  visit("seed", c.seed, "");  // --seed and --precision are common flags
  visit("precision", c.precision, "");
}

/// The names of a flag, in CLI11's way: what reference programs call it too, and how a switch is turned off.
std::string names_of(const std::string& key, bool is_switch) {
  std::string names = flag_of(key);
  if (is_switch) names += ",!--no-" + names.substr(2);
  for (const auto& [setting, other] : {std::pair{"label_smoothing", ",--smoothing"},
                                       {"image_size", ",--input-size"},
                                       {"dropout", ",--drop"},
                                       {"simple_crop", ",--src"},
                                       {"three_augment", ",--ThreeAugment"},
                                       {"accum", ",--accum-iter,--accumulation-steps"},
                                       {"scale_lr", ",!--unscale-lr"},
                                       {"ema", ",--model-ema-decay"}})
    if (key == setting) names += other;
  return names;
}

/// "a, b or c"
std::string choices(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size(); ++i) text += (i == 0 ? "" : (i + 1 == names.size() ? " or " : ", ")) + names[i];
  return text;
}

}  // namespace

std::string flag_of(std::string key) {
  std::replace(key.begin(), key.end(), '_', '-');
  return "--" + key;
}

Json TrainConfig::json() const {
  Json document;
  for_each_setting(*this, [&](const char* key, const auto& value, const char*) { document[key] = value; });
  return document;
}

void TrainConfig::set(const Json& settings) {
  for_each_setting(*this, [&](const char* key, auto& value, const char*) {
    using T = std::remove_reference_t<decltype(value)>;
    if (!settings.contains(key)) return;
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      value = whole_number<T>(settings[key], key);
    } else {
      settings[key].get_to(value);
    }
  });
}

TrainConfig TrainConfig::from_json(const Json& document, const std::string& where) {
  TrainConfig config;
  const auto malformed = [&](const std::exception& e) {
    return IoError(format("{}: malformed training configuration: {}", where, one_line(e.what())));
  };
  try {
    check<ValueError>(document.is_object(), "it is no object");
    config.set(document);  // what is not there was written before there was such a flag
    config.check_ranges();
  } catch (const Json::exception& e) {
    throw malformed(e);
  } catch (const Error& e) {
    throw malformed(e);
  }
  return config;
}

void TrainConfig::check_ranges() const {
  const auto in = [](const char* flag, double value, double low, double high, const char* range) {
    check<UsageError>(value >= low && value <= high, "{} must be {}, got {}", flag, range, value);
  };
  constexpr double kHuge = 1e9;
  in("--epochs", double(epochs), 1, kHuge, "at least 1");
  in("--batch-size", double(batch_size), 1, kHuge, "at least 1");
  in("--accum", double(accum), 1, 1 << 20, "1 to 1048576");
  in("--image-size", double(image_size), 0, 4096, "at most 4096");
  in("--num-classes", double(num_classes), 0, 1 << 20, "at most 1048576");
  for (const auto& [flag, value] : {std::pair{"--lr", lr},
                                    {"--min-lr", min_lr},
                                    {"--warmup-lr", warmup_lr},
                                    {"--warmup-epochs", warmup_epochs},
                                    {"--weight-decay", weight_decay},
                                    {"--clip-grad", clip_grad},
                                    {"--pad-crop", double(pad_crop)}})
    in(flag, value, 0, kHuge, "at least 0");
  in("--opt-eps", opt_eps, 0, 1, "between 0 and 1");
  check<UsageError>(opt_betas.size() == 2, "--opt-betas takes two numbers, got {}", opt_betas.size());
  for (const double beta : opt_betas) in("--opt-betas", beta, 0, 0.999999999, "in [0, 1)");
  in("--momentum", momentum, 0, 1, "between 0 and 1");
  in("--label-smoothing", label_smoothing, 0, 1, "between 0 and 1");
  in("--ema", ema, 0, 1, "between 0 and 1");
  in("--distillation-alpha", distillation_alpha, 0, 1, "between 0 and 1");
  in("--distillation-tau", distillation_tau, 1e-3, 1e3, "between 0.001 and 1000");
  for (const auto& [flag, value] :
       {std::pair{"--reprob", reprob}, {"--mixup-prob", mixup_prob}, {"--mixup-switch-prob", mixup_switch_prob}})
    in(flag, value, 0, 1, "between 0 and 1");
  for (const auto& [flag, value] :
       {std::pair{"--color-jitter", color_jitter}, {"--mixup", mixup}, {"--cutmix", cutmix}})
    in(flag, value, 0, 10, "between 0 and 10");
  in("--recount", double(recount), 1, 100, "1 to 100");
  in("--eval-crop-ratio", eval_crop_ratio, data::kSmallestCrop, 1, "between 0.1 and 1");
  for (const auto& [flag, list] : {std::pair{"--scale", &scale}, {"--ratio", &ratio}})
    check<UsageError>(list->size() == 2, "{} takes two numbers, got {}", flag, list->size());
  check<UsageError>(cutmix_minmax.empty() || cutmix_minmax.size() == 2, "--cutmix-minmax takes two numbers, got {}",
                    cutmix_minmax.size());
  for (const auto& [flag, value] : {std::pair{"--drop-path", drop_path}, {"--dropout", dropout}})
    in(flag, value, 0, 0.999, "in [0, 1)");
  const auto one_of = [](const char* flag, const std::string& value, const std::vector<std::string>& names) {
    check<UsageError>(std::find(names.begin(), names.end(), value) != names.end(), "{} must be {}, got '{}'", flag,
                      choices(names), value);
  };
  one_of("--pos-resize", pos_resize, {"bicubic", "bicubic-aa"});
  one_of("--opt", opt, {"adamw", "sgd"});
  one_of("--distillation-type", distillation_type, {"none", "soft", "hard"});
  one_of("--distillation-norm", distillation_norm, {"numel", "batch"});
  one_of("--precision", precision, {"f32", "bf16"});
  check<UsageError>(distillation_type == "none" || !teacher_path.empty(),
                    "--distillation-type {} needs --teacher-path FILE, a checkpoint or weights with --teacher-model",
                    distillation_type);
}

std::function<std::vector<std::string>()> add_train_flags(CLI::App& app, TrainConfig& config) {
  const auto options = std::make_shared<std::vector<std::pair<std::string, CLI::Option*>>>();
  for_each_setting(config, [&](const char* key, auto& value, const char* help) {
    if (!*help) {
      options->emplace_back(key, app.get_option(flag_of(key)));
    } else if constexpr (std::is_same_v<decltype(value), bool&>) {
      options->emplace_back(key, app.add_flag(names_of(key, true), value, help));
    } else {
      options->emplace_back(key, app.add_option(names_of(key, false), value, help)->capture_default_str());
    }
  });
  return [options] {
    std::vector<std::string> given;
    for (const auto& [key, option] : *options)
      if (option->count() > 0) given.push_back(key);
    return given;
  };
}

void add_run_flags(CLI::App& app, TrainRun& run) {
  app.add_option("--workers,--num-workers,--num_workers", run.workers, "threads that prepare batches")
      ->capture_default_str()
      ->check(CLI::Range(0, 64));
  add_name_hash_flag(app, run.hash);
  app.add_option("--cuda-graph", run.cuda_graph,
                 "auto, on or off: capture the step as one graph (auto: on cuda; on: on the emulated device too)")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "on", "off"}));
  app.add_option("--save-every", run.save_every, "seconds between checkpoints within an epoch")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--keep-last", run.keep_last, "epochs whose checkpoints stay, as checkpoint-EPOCH.safetensors")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
}

}  // namespace vitrine::apps
