#include "apps/train/trainer.h"

#include <chrono>
#include <cmath>
#include <iostream>

#include "apps/classifier/progress.h"
#include "apps/classifier/weights.h"
#include "apps/train/averaged_weights.h"
#include "apps/train/finite_guard.h"
#include "apps/train/input.h"
#include "apps/train/toml.h"
#include "core/files.h"
#include "nn/optim/schedule.h"
#include "ops/binary/operators.h"

namespace vitrine::apps {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

ClassifierSpec spec_of(const TrainConfig& config, const data::Dataset& dataset) {
  ClassifierSpec spec{.model = config.model,
                      .data = config.data,
                      .data_seed = config.seed,
                      .preprocessing = input_of(config, dataset),
                      .labels = dataset.labels(),
                      .multi_label = dataset.multi_label()};
  spec.options = {.num_classes = config.num_classes ? config.num_classes : dataset.num_classes(),
                  .image_size = config.image_size ? config.image_size : spec.preprocessing.height,
                  .drop_path = config.drop_path,
                  .dropout = config.dropout};
  if (!config.rpe.empty()) spec.options.rpe = config.rpe;
  if (!config.ape.empty()) spec.options.ape = models::parse_ape(config.ape);
  for (int64_t c = dataset.num_classes(); c < *spec.options.num_classes; ++c)
    spec.labels.push_back(format("class {}", c));
  return spec;
}

std::unique_ptr<nn::Optimizer> optimizer_of(const TrainConfig& config, const models::Classifier& model) {
  std::vector<nn::ParameterGroup> groups = nn::decay_groups(model.parameters(), config.weight_decay, config.decay_rpe);
  if (config.opt == "sgd") return nn::make_sgd(std::move(groups), {.momentum = config.momentum, .nesterov = true});
  return nn::make_adamw(std::move(groups),
                        {.beta1 = config.opt_betas[0], .beta2 = config.opt_betas[1], .eps = config.opt_eps});
}

/// "no decay of 26 tensors with 2954 numbers, decay 0.05 of 18 with 204160"
std::string groups_text(const Json& groups) {
  std::string text;
  for (const Json& g : groups)
    text += format("{}{} of {}{} with {}{}", text.empty() ? "" : ", ",
                   g["weight_decay"] == 0 ? "no decay" : "decay " + g["weight_decay"].dump(), g["tensors"].dump(),
                   text.empty() ? " tensors" : "", g["parameters"].dump(), text.empty() ? " numbers" : "");
  return text;
}

data::LoaderOptions batches_of(const TrainConfig& config, const TrainRun& run, const data::Dataset& dataset,
                               const ClassifierSpec& spec) {
  data::LoaderOptions options =
      loader_options(config, dataset, spec.preprocessing, *spec.options.num_classes, run.workers);
  options.memory = pinned_memory(run.device);
  return options;
}

}  // namespace

Trainer::Trainer(const TrainConfig& config, const TrainRun& run, const StoredRun* known)
    : config_(config),
      run_(run),
      rng_{config.seed, 0},
      train_(data::open_dataset(config.data, data::Split::train, config.seed)),
      test_(data::open_dataset(config.data, data::Split::test, config.seed)),
      skipped_(*train_),
      skipped_test_(*test_),
      spec_(spec_of(config_, *train_)),
      graph_(run.cuda_graph, run.device, rng_,
             [this](std::span<const data::Batch> parts) { return step_on_device(parts); }),
      loader_(*train_, batches_of(config_, run, *train_, spec_)),
      log_(run.out, config.model) {
  if (known) spec_.check_weights(tensors_with_prefix(known->checkpoint, ""), known->file);
  model_ = spec_.make(run_.device, rng_);
  check_fits(*model_, *train_);
  objective_.emplace(config_, run_, spec_, *model_);
  if (!known && !config_.finetune.empty()) {
    const data::Checkpoint weights = data::read_checkpoint(config_.finetune, {}, run.hash);
    pretrained_ = load_weights(*model_, weights_of(weights.content), models::Fit::fine_tune, config_.finetune,
                               models::parse_position_resize(config_.pos_resize));
  }
  check<ValueError>(loader_.batches() > 0, "train: --batch-size {}{} is larger than the {} images of {}{}",
                    config_.batch_size, config_.accum > 1 ? format(" times --accum {}", config_.accum) : "",
                    train_->size(), train_->description(),
                    config_.repeated_aug ? ", rounded down to a multiple of 256 by --repeated-aug" : "");
  optimizer_ = optimizer_of(config_, *model_);
  if (config_.ema > 0) ema_ = std::make_unique<nn::Ema>(*model_, config_.ema);
  for (const auto& [name, t] : model_->parameters()) parameters_.push_back(t);
  if (known) restore(*known);
  if (!run_.dry) remove_stale_temporaries(run_.out);
  if (!run_.dry && !(known && known->file == checkpoint_of(run_.out))) begin();
  describe();
}

void Trainer::begin() const {
  make_folder(run_.out);
  write_file_atomically(path("config.json"), [&](std::ostream& out) { out << config_.json().dump(1) << "\n"; });
  write_file_atomically(path("config.toml"), [&](std::ostream& out) { out << toml_text(config_.json()); });
  if (!metrics().empty()) log_.write();
  save_checkpoint();
}

void Trainer::describe() const {
  std::cerr << format("{}\n{}: {} parameters{}{}, on {} in {}\n", train_->description(), config_.model,
                      model_->parameter_count(), config_.rpe.empty() ? "" : ", ", config_.rpe, to_string(run_.device),
                      config_.precision);
  const std::string passes =
      config_.accum > 1 ? format(" ({} passes of {})", config_.accum, config_.batch_size) : std::string();
  std::cerr << format("{} epochs of {} steps of {} images{}; epoch {}, step {} is next\n", config_.epochs, steps(),
                      config_.effective_batch(), passes, at_.epoch, at_.step);
  const std::string scaled =
      config_.scale_lr ? format(" = {} x {} / 512", config_.lr, config_.effective_batch()) : std::string();
  std::cerr << format("{} at a learning rate of {}{}; {}\n", config_.opt, config_.peak_lr(), scaled,
                      groups_text(parameter_groups()));
  if (config_.distillation_type != "none")
    std::cerr << format("{} distillation with weight {} from {}\n", config_.distillation_type,
                        config_.distillation_alpha, config_.teacher_path);
}

Json Trainer::parameter_groups() const {
  Json list = Json::array();
  for (const nn::ParameterGroup& group :
       nn::decay_groups(model_->parameters(), config_.weight_decay, config_.decay_rpe)) {
    int64_t numbers = 0;
    for (const auto& [name, t] : group.parameters) numbers += t.numel();
    list.push_back(
        {{"weight_decay", group.weight_decay}, {"tensors", group.parameters.size()}, {"parameters", numbers}});
  }
  return list;
}

double Trainer::learning_rate() const {
  const double peak = config_.peak_lr();
  const nn::CosineSchedule schedule{.base = peak,
                                    .warmup_lr = std::min(config_.warmup_lr, peak),
                                    .min_lr = std::min(config_.min_lr, peak),
                                    .epochs = double(config_.epochs),
                                    .warmup_epochs = config_.warmup_epochs};
  if (config_.sched_on_epochs) return schedule.in_epoch(at_.epoch);
  return schedule(double(at_.epoch) + double(at_.step) / double(steps()));
}

Tensor Trainer::forward_backward(std::span<const data::Batch> parts) {
  model_->zero_grad();
  Tensor total;
  for (const data::Batch& part : parts) {
    Tensor loss = (*objective_)(*model_, part);
    if (parts.size() > 1) loss = loss * (1 / double(parts.size()));
    loss.backward();
    total = total.defined() ? total + loss.detach() : loss.detach();
  }
  return total;
}

std::vector<data::Batch> Trainer::next_step(data::Epoch& batches) const {
  std::vector<data::Batch> parts;
  for (int64_t i = 0; i < config_.accum; ++i)
    if (std::optional<data::Batch> part = batches.next()) parts.push_back(std::move(*part));
  return parts;
}

/// All of a step but its learning rate. Where loss or gradient is not finite, nothing is updated.
StepTensors Trainer::step_on_device(std::span<const data::Batch> parts) {
  const Tensor loss = forward_backward(parts);
  const NoGrad no_grad;
  std::vector<Tensor> gradients;
  for (const Tensor& p : parameters_) gradients.push_back(p.grad());
  const Tensor norm = ops::global_norm(gradients, &norm_cache_), finite = ops::both_finite(loss, norm);
  optimizer_->update({.gradient_factor = config_.clip_grad > 0 ? ops::clip_factor(norm, config_.clip_grad) : Tensor(),
                      .condition = finite});
  if (ema_) ema_->update(finite);
  return {loss, norm};
}

void Trainer::diverged(const std::string& what) const {
  throw Error(
      format("train: {}. {} is older, and good. Try a lower --lr, or --clip-grad 1", what, checkpoint_of(run_.out)));
}

double Trainer::step(std::span<const data::Batch> parts, const std::function<void()>& meanwhile) {
  const uint64_t offset = rng_.offset;
  optimizer_->set_lr(learning_rate());
  const StepTensors made = graph_.run(parts);
  if (meanwhile) meanwhile();
  const double loss = made.loss.item();
  if (!std::isfinite(loss) || !std::isfinite(made.norm.item())) {
    const NoGrad no_grad;
    const std::string cause = first_non_finite(model_->state_dict(), parts, [&] {
      const EnableGrad grad;
      rng_.offset = offset;
      forward_backward(parts);
    });
    diverged(format("{} is not finite at epoch {}, step {}: {}",
                    std::isfinite(loss) ? "the norm of the gradient" : "the loss", at_.epoch, at_.step, cause));
  }
  return loss;
}

bool Trainer::train_epoch(const std::atomic<bool>& stop) {
  const int64_t images = config_.effective_batch();
  data::Epoch batches = loader_.epoch(at_.epoch, at_.step * config_.accum);
  Progress progress(format("epoch {}/{}", at_.epoch + 1, config_.epochs), "images", steps() * images,
                    at_.step * images);
  const Clock::time_point start = Clock::now();
  const double seconds_before = at_.seconds;
  Clock::time_point saved = start;
  model_->train(config_.train_mode);
  std::vector<data::Batch> ahead;  // sent to the device while the step before it ran
  const auto send_next = [&] {
    if (graph_.on() && batches.ready(config_.accum)) ahead = next_step(batches), graph_.send(ahead);
  };
  while (at_.step < steps()) {
    const Clock::time_point asked = Clock::now();
    const std::vector<data::Batch> parts = ahead.empty() ? next_step(batches) : std::exchange(ahead, {});
    if (parts.empty()) break;
    at_.waited += seconds_since(asked);
    at_.loss_sum += step(parts, send_next);
    ++at_.step;
    at_.seconds = seconds_before + seconds_since(start);
    loader_rate_ = batches.rate();
    skipped_.tell(&progress);
    if (const std::string news = graph_.take_news(); !news.empty()) progress.clear(), std::cerr << news;
    progress.update(at_.step * images,
                    format("loss {}  {}", significant(at_.loss_sum / double(at_.step)), loader_text()));
    if (at_.step == steps()) break;
    if (stop || seconds_since(saved) > run_.save_every) {
      save_checkpoint();
      saved = Clock::now();
    }
    if (stop) return progress.clear(), false;
  }
  progress.clear();
  return true;
}

std::string Trainer::loader_text() const {
  return format("loader {} images/s, {} % of the time waiting for it", significant(loader_rate_),
                significant(100 * at_.waited / at_.seconds, 2));
}

Accuracy Trainer::test(const std::function<bool(int64_t)>& seen) {
  return evaluate(*model_, *test_, spec_.preprocessing, run_.device, parse_dtype(config_.precision),
                  std::max<int64_t>(config_.batch_size, 64), run_.workers, seen);
}

bool Trainer::end_epoch(const std::atomic<bool>& stop) {
  check_finite_weights(format("train: after epoch {}", at_.epoch), model_->state_dict());
  const double lr = learning_rate(), images = double(loader_.batches() * config_.batch_size);
  const auto go_on = [&](int64_t) { return !stop; };
  const Accuracy raw = test(go_on);
  std::optional<Accuracy> averaged;
  if (ema_ && !stop) {
    const AveragedWeights scope(*model_, *ema_);
    averaged = test(go_on);
  }
  skipped_test_.tell();
  if (stop) return save_checkpoint(), false;  // behind the last step: what goes on from it tests first
  if (!std::isfinite(raw.loss))
    diverged(format("the test loss is not finite after epoch {}, though every weight is", at_.epoch));
  Json line{{"epoch", at_.epoch},
            {"train_loss", at_.loss_sum / double(at_.step)},
            {"test_loss", raw.loss},
            {"test_acc1", raw.top1},
            {"test_acc5", raw.top5},
            {"crop", spec_.preprocessing.crop},
            {"lr", lr},
            {"images_per_s", images / at_.seconds},
            {"seconds", at_.seconds},
            {"n_parameters", model_->parameter_count()},
            {"loader_images_per_s", loader_rate_},
            {"waiting_for_loader", at_.waited / at_.seconds}};
  if (averaged) {
    line["test_loss_ema"] = averaged->loss;
    line["test_acc1_ema"] = averaged->top1, line["test_acc5_ema"] = averaged->top5;
    if (averaged->mean_average_precision) line["test_map_ema"] = *averaged->mean_average_precision;
  }
  if (raw.mean_average_precision) line["test_map"] = *raw.mean_average_precision;
  log_.add(line);
  save_best(raw, averaged);
  std::cerr << format("epoch {}/{}  train loss {}  test loss {}  top-1 {} %  top-5 {} % at crop {}  {} images/s  {}\n",
                      at_.epoch + 1, config_.epochs, significant(at_.loss_sum / double(at_.step)),
                      significant(raw.loss), significant(raw.top1, 4), significant(raw.top5, 4),
                      spec_.preprocessing.crop, significant(images / at_.seconds), duration_text(at_.seconds));
  const auto reference_line = [&](const Accuracy& a, double best, const char* of) {
    const std::string precision =
        a.mean_average_precision ? format(" mAP {}", significant(*a.mean_average_precision, 5)) : std::string();
    std::cerr << format("* Acc@1 {} Acc@5 {}{} loss {}{}  Max accuracy: {}% at crop {}\n", significant(a.top1, 5),
                        significant(a.top5, 5), precision, significant(a.loss, 4), of, significant(best, 4),
                        spec_.preprocessing.crop);
  };
  reference_line(raw, at_.best, "");
  if (averaged) reference_line(*averaged, at_.best_ema, " of the averaged weights");
  std::cerr << loader_text() << "\n";
  at_ = {.epoch = at_.epoch + 1, .best = at_.best, .best_ema = at_.best_ema};
  if (run_.keep_last > 0) keep_epoch();
  save_checkpoint();
  return true;
}

bool Trainer::run(const std::atomic<bool>& stop) {
  while (at_.epoch < config_.epochs) {
    if (!train_epoch(stop) || !end_epoch(stop)) return false;
    if (stop) break;
  }
  skipped_.summary();
  skipped_test_.summary();
  return at_.epoch == config_.epochs;
}

}  // namespace vitrine::apps
