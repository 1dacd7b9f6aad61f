#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/cli.h"
#include "data/checkpoint/checkpoint.h"
#include "data/image/preprocessing.h"

namespace vitrine::apps {

/// Everything that determines a training run, as flags and as JSON (config.json, checkpoints).
struct TrainConfig {
  std::string model = "deit_micro_patch4_28", data = "fashion-mnist";
  int64_t image_size = 0, num_classes = 0;  ///< 0: those of the data
  std::string rpe, ape;                     ///< empty: the model's
  std::string finetune;                     ///< file of the first weights; empty: they are drawn
  std::string pos_resize = "bicubic";       ///< of their positions
  int64_t epochs = 5, batch_size = 64, accum = 1;
  std::string opt = "adamw";
  std::vector<double> opt_betas = {0.9, 0.999};
  double opt_eps = 1e-8;
  bool scale_lr = false;
  double lr = 1e-3, min_lr = 1e-5, warmup_lr = 1e-6, warmup_epochs = 0.5;
  bool sched_on_epochs = false;
  double weight_decay = 0.05;
  bool decay_rpe = true;
  double momentum = 0.9, clip_grad = 0;
  double label_smoothing = 0.1, drop_path = 0, dropout = 0, ema = 0;
  bool train_mode = true, bce_loss = false;
  std::string teacher_model, teacher_path;
  std::string distillation_type = "none", distillation_norm = "numel";
  double distillation_alpha = 0.5, distillation_tau = 1;
  bool flip = false;
  std::vector<double> scale = {0.08, 1}, ratio = {3. / 4, 4. / 3};
  int64_t pad_crop = 0;
  bool simple_crop = false, three_augment = false;
  std::string aa, train_interpolation = "bicubic";
  double color_jitter = 0;
  double reprob = 0;
  std::string remode = "pixel";
  int64_t recount = 1;
  double mixup = 0, cutmix = 0;
  std::vector<double> cutmix_minmax;  ///< empty or two
  double mixup_prob = 1, mixup_switch_prob = 0.5;
  std::string mixup_mode = "batch";
  int64_t mix_group = 64;
  bool repeated_aug = false;
  double eval_crop_ratio = data::kEvaluationCrop;
  uint64_t seed = 0;
  std::string precision = "f32";

  nlohmann::ordered_json json() const;
  /// Takes over what `settings`, a part of what json() gives, says.
  void set(const nlohmann::ordered_json& settings);
  /// @throws IoError, beginning with `where`, for a document that json() does not give
  static TrainConfig from_json(const nlohmann::ordered_json& document, const std::string& where);
  /// @throws UsageError naming the flag whose value is out of range
  void check_ranges() const;
  /// Images of a step.
  int64_t effective_batch() const { return batch_size * accum; }
  /// The peak of the learning rate: lr, with scale_lr times effective_batch() / 512 (deit 4.1).
  double peak_lr() const { return scale_lr ? lr * double(effective_batch()) / 512 : lr; }
};

/// How a run is carried out; changes no result.
struct TrainRun {
  std::string out;
  bool dry = false;  ///< to be measured only: nothing is written
  int workers = 1;
  int64_t keep_last = 0;   ///< epochs whose checkpoints stay
  double save_every = 60;  ///< seconds between checkpoints within an epoch
  data::NameHash hash = data::NameHash::verify;
  std::string cuda_graph = "auto";  ///< whether steps are captured: auto (on cuda), on, off
  Device device;
};

/// The flag of a key of json(): "--batch-size" of "batch_size".
std::string flag_of(std::string key);

/// Adds the flags of `config` to `app`. The result tells, after parsing, which of them (as keys of json()) were given.
std::function<std::vector<std::string>()> add_train_flags(CLI::App& app, TrainConfig& config);
/// Adds the flags of `run` but --out, --resume and --device.
void add_run_flags(CLI::App& app, TrainRun& run);

}  // namespace vitrine::apps
