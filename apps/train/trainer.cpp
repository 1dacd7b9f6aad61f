#include "apps/train/trainer.h"

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "apps/classifier/progress.h"
#include "apps/classifier/weights.h"
#include "apps/plot/curves.h"
#include "apps/train/input.h"
#include "core/files.h"
#include "nn/optim/schedule.h"
#include "ops/cross_entropy/cross_entropy.h"

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
                      .labels = dataset.labels()};
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
  std::vector<nn::ParameterGroup> groups = nn::decay_groups(model.parameters(), config.weight_decay);
  if (config.opt == "sgd") return nn::make_sgd(std::move(groups), {.momentum = config.momentum, .nesterov = true});
  return nn::make_adamw(std::move(groups));
}

/// The lines of metrics.jsonl that belong to epochs before `epoch`.
std::vector<Json> read_metrics(const std::string& file, int64_t epoch) {
  std::vector<Json> lines;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const Json document = Json::parse(line, nullptr, false);
    check<IoError>(document.is_object() && document.contains("epoch") && document["epoch"].is_number_integer(),
                   "{}: line {} is no line of metrics", file, lines.size() + 1);
    if (document["epoch"] < epoch) lines.push_back(document);
  }
  check<IoError>(int64_t(lines.size()) == epoch, "{}: has {} of the {} lines that the checkpoint belongs to", file,
                 lines.size(), epoch);
  return lines;
}

}  // namespace

std::string checkpoint_of(const std::string& out) { return out + "/checkpoint.safetensors"; }

std::optional<StoredRun> stored_run(const std::string& out) {
  const std::string file = checkpoint_of(out);
  if (!std::filesystem::exists(file)) return {};
  StoredRun run{.checkpoint = data::read_safetensors(file), .config = {}};
  const Json training = metadata_json(run.checkpoint, file, kTrainingKey);
  check<IoError>(training.contains("config"), "{}: malformed state of training: no configuration", file);
  run.config = TrainConfig::from_json(training["config"], file);
  return run;
}

Trainer::Trainer(const TrainConfig& config, const TrainRun& run, const data::Safetensors* known)
    : config_(config),
      run_(run),
      rng_{config.seed, 0},
      train_(data::open_dataset(config.data, data::Split::train, config.seed)),
      test_(data::open_dataset(config.data, data::Split::test, config.seed)),
      skipped_(*train_),
      skipped_test_(*test_),
      spec_(spec_of(config_, *train_)),
      loader_(*train_, loader_options(config_, *train_, spec_.preprocessing, *spec_.options.num_classes, run.workers)) {
  model_ = spec_.make(run_.device, rng_);
  check_fits(*model_, *train_);
  if (!known && !config_.finetune.empty()) {
    const data::Checkpoint weights = data::read_checkpoint(config_.finetune, {}, run.hash);
    pretrained_ = load_weights(*model_, weights_of(weights.content), models::Fit::fine_tune, config_.finetune,
                               models::parse_position_resize(config_.pos_resize));
  }
  check<ValueError>(loader_.batches() > 0, "train: --batch-size {} is larger than the {} images of {}{}",
                    config_.batch_size, train_->size(), train_->description(),
                    config_.repeated_aug ? ", rounded down to a multiple of 256 by --repeated-aug" : "");
  optimizer_ = optimizer_of(config_, *model_);
  if (config_.ema > 0) ema_ = std::make_unique<nn::Ema>(*model_, config_.ema);
  for (const auto& [name, t] : model_->parameters()) parameters_.push_back(t);
  if (known) {
    restore(*known);
  } else {
    make_folder(run_.out);
    write_file_atomically(path("config.json"), [&](std::ostream& out) { out << config_.json().dump(1) << "\n"; });
    save_checkpoint();
  }
  describe();
}

void Trainer::describe() const {
  std::cerr << format("{}\n{}: {} parameters{}{}, on {} in {}\n", train_->description(), config_.model,
                      model_->parameter_count(), config_.rpe.empty() ? "" : ", ", config_.rpe, to_string(run_.device),
                      config_.precision);
  std::cerr << format("{} epochs of {} steps of {} images; {} at {}, decay {}; epoch {}, step {} is next\n",
                      config_.epochs, loader_.batches(), config_.batch_size, config_.opt, config_.lr,
                      config_.weight_decay, at_.epoch, at_.step);
}

double Trainer::learning_rate() const {
  const nn::CosineSchedule schedule{.base = config_.lr,
                                    .warmup_lr = std::min(config_.warmup_lr, config_.lr),
                                    .min_lr = std::min(config_.min_lr, config_.lr),
                                    .epochs = double(config_.epochs),
                                    .warmup_epochs = config_.warmup_epochs};
  if (config_.sched_on_epochs) return schedule.in_epoch(at_.epoch);
  return schedule(double(at_.epoch) + double(at_.step) / double(loader_.batches()));
}

Tensor Trainer::step(const data::Batch& batch) {
  const Dtype dtype = parse_dtype(config_.precision);
  const Tensor logits = model_->logits(batch.images.to(run_.device).to(dtype)).to(Dtype::f32);
  const Tensor loss = batch.soft_targets.defined() ? ops::cross_entropy(logits, batch.soft_targets.to(run_.device))
                                                   : ops::cross_entropy(logits, batch.targets.to(run_.device),
                                                                        {.label_smoothing = config_.label_smoothing});
  model_->zero_grad();
  loss.backward();
  Tensor factor;
  if (config_.clip_grad > 0) {
    const NoGrad no_grad;
    std::vector<Tensor> gradients;
    for (const Tensor& p : parameters_) gradients.push_back(p.grad());
    factor = ops::clip_factor(ops::global_norm(gradients), config_.clip_grad);
  }
  optimizer_->step(learning_rate(), factor);
  if (ema_) ema_->update();
  return loss.detach();
}

bool Trainer::train_epoch(const std::atomic<bool>& stop) {
  const int64_t steps = loader_.batches();
  data::Epoch batches = loader_.epoch(at_.epoch, at_.step);
  Progress progress(format("epoch {}/{}", at_.epoch + 1, config_.epochs), "images", steps * config_.batch_size,
                    at_.step * config_.batch_size);
  const Clock::time_point start = Clock::now();
  const double seconds_before = at_.seconds;
  Clock::time_point saved = start;
  model_->train();
  while (const auto batch = batches.next()) {
    const double loss = step(*batch).item();
    if (!std::isfinite(loss)) {
      progress.clear();
      throw Error(
          format("train: the loss is {} at epoch {}, step {}; the last checkpoint in {} is from before. Try a "
                 "lower --lr, or --clip-grad 1",
                 loss, at_.epoch, at_.step, run_.out));
    }
    at_.loss_sum += loss;
    ++at_.step;
    at_.seconds = seconds_before + seconds_since(start);
    skipped_.tell(&progress);
    progress.update(at_.step * config_.batch_size, "loss " + significant(at_.loss_sum / double(at_.step)));
    if (at_.step == steps) break;
    if (stop || seconds_since(saved) > run_.save_every) {
      save_checkpoint();
      saved = Clock::now();
    }
    if (stop) return progress.clear(), false;
  }
  progress.clear();
  return true;
}

void Trainer::end_epoch() {
  const double lr = learning_rate(), images = double(loader_.batches() * config_.batch_size);
  const Accuracy test = evaluate(*model_, *test_, spec_.preprocessing, run_.device, parse_dtype(config_.precision),
                                 std::max<int64_t>(config_.batch_size, 64), run_.workers);
  skipped_test_.tell();
  metrics_.push_back({{"epoch", at_.epoch},
                      {"train_loss", at_.loss_sum / double(at_.step)},
                      {"test_loss", test.loss},
                      {"test_acc1", test.top1},
                      {"test_acc5", test.top5},
                      {"lr", lr},
                      {"images_per_s", images / at_.seconds},
                      {"seconds", at_.seconds}});
  write_file_atomically(path("metrics.jsonl"), [&](std::ostream& out) {
    for (const Json& line : metrics_) out << line.dump() << "\n";
  });
  std::vector<EpochRow> rows;
  for (const Json& m : metrics_) rows.push_back({m["epoch"], m["train_loss"], m["test_loss"], m["test_acc1"], m["lr"]});
  write_file_atomically(path("curves.svg"), [&](std::ostream& out) { out << curves_svg(rows, config_.model); });
  std::cerr << format("epoch {}/{}  train loss {}  test loss {}  top-1 {} %  top-5 {} %  {} images/s  {}\n",
                      at_.epoch + 1, config_.epochs, significant(at_.loss_sum / double(at_.step)),
                      significant(test.loss), significant(test.top1, 4), significant(test.top5, 4),
                      significant(images / at_.seconds), duration_text(at_.seconds));
  if (test.top1 > at_.best) {
    at_.best = test.top1;
    save_best();
  }
  at_ = {.epoch = at_.epoch + 1, .best = at_.best};
  save_checkpoint();
}

bool Trainer::run(const std::atomic<bool>& stop) {
  while (at_.epoch < config_.epochs) {
    if (!train_epoch(stop)) return false;
    end_epoch();
    if (stop) break;
  }
  skipped_.summary();
  skipped_test_.summary();
  return at_.epoch == config_.epochs;
}

void Trainer::save_checkpoint() const {
  data::Safetensors file{.tensors = model_->state_dict()};
  for (const auto& [name, t] : optimizer_->state_dict()) file.tensors.emplace_back(kOptimizerPrefix + name, t);
  if (ema_)
    for (const auto& [name, t] : ema_->state_dict()) file.tensors.emplace_back(kEmaPrefix + name, t);
  const Json training{{"config", config_.json()},
                      {"epoch", at_.epoch},
                      {"step", at_.step},
                      {"loss_sum", at_.loss_sum},
                      {"seconds", at_.seconds},
                      {"best", at_.best},
                      {"generator_seed", rng_.seed},
                      {"generator_offset", rng_.offset}};
  file.metadata = {{kSpecKey, spec_.json().dump()}, {kTrainingKey, training.dump()}};
  data::write_safetensors(checkpoint_of(run_.out), file);
}

void Trainer::save_best() const {
  data::write_safetensors(path("best.safetensors"),
                          {.tensors = model_->state_dict(), .metadata = {{kSpecKey, spec_.json().dump()}}});
}

void Trainer::restore(const data::Safetensors& known) {
  const std::string file = checkpoint_of(run_.out);
  const Json training = metadata_json(known, file, kTrainingKey);
  try {
    model_->load_state_dict(tensors_with_prefix(known, ""));
    optimizer_->load_state_dict(tensors_with_prefix(known, kOptimizerPrefix));
    if (ema_) ema_->load_state_dict(tensors_with_prefix(known, kEmaPrefix));
    at_ = {.epoch = training.at("epoch"),
           .step = training.at("step"),
           .loss_sum = training.at("loss_sum"),
           .seconds = training.at("seconds"),
           .best = training.at("best")};
    rng_ = {.seed = training.at("generator_seed"), .offset = training.at("generator_offset")};
  } catch (const Json::exception& e) {
    throw IoError(format("{}: malformed state of training: {}", file, e.what()));
  } catch (const ShapeError& e) {
    throw IoError(format("{}: {}", file, e.what()));
  }
  check<IoError>(at_.epoch >= 0 && at_.epoch <= config_.epochs && at_.step >= 0 && at_.step < loader_.batches(),
                 "{}: epoch {}, step {} is outside the run of {} epochs of {} steps", file, at_.epoch, at_.step,
                 config_.epochs, loader_.batches());
  metrics_ = read_metrics(path("metrics.jsonl"), at_.epoch);
}

}  // namespace vitrine::apps
