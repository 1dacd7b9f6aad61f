#include <cstring>
#include <filesystem>

#include "apps/classifier/whole_number.h"
#include "apps/train/averaged_weights.h"
#include "apps/train/finite_guard.h"
#include "apps/train/trainer.h"

// What a run keeps in its folder, and how it goes on from there.
namespace vitrine::apps {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

std::string checkpoint_of(const std::string& out) { return out + "/checkpoint.safetensors"; }

std::optional<StoredRun> stored_run(const std::string& out) {
  const std::string file = checkpoint_of(out);
  if (!std::filesystem::exists(file)) return {};
  return read_run(file);
}

StoredRun read_run(const std::string& file) {
  StoredRun run{.file = file, .checkpoint = data::read_safetensors(file), .config = {}};
  const Json training = metadata_json(run.checkpoint, file, kTrainingKey);
  run.config = TrainConfig::from_json(training.value("config", Json()), file);
  return run;
}

data::Safetensors Trainer::state() const {
  data::Safetensors file{.tensors = model_->state_dict()};
  for (const auto& [name, t] : optimizer_->state_dict()) file.tensors.emplace_back(kOptimizerPrefix + name, t);
  if (ema_)
    for (const auto& [name, t] : ema_->state_dict()) file.tensors.emplace_back(kEmaPrefix + name, t);
  const Json training{
      {"config", config_.json()}, {"epoch", at_.epoch},          {"step", at_.step},
      {"steps", steps()},         {"loss_sum", at_.loss_sum},    {"seconds", at_.seconds},
      {"waited", at_.waited},     {"loader_rate", loader_rate_}, {"best", at_.best},
      {"best_ema", at_.best_ema}, {"generator_seed", rng_.seed}, {"generator_offset", rng_.offset},
  };
  file.metadata = {{kSpecKey, spec_.json().dump()}, {kTrainingKey, training.dump()}};
  return file;
}

void Trainer::save_checkpoint() const {
  check_finite_weights(format("train: {} stays as it was; now", checkpoint_of(run_.out)), model_->state_dict());
  data::write_safetensors(checkpoint_of(run_.out), state());
}

/// Writes the checkpoint of the epoch that is over under its number; then removes those that are too old.
void Trainer::keep_epoch() const {
  constexpr const char *kStem = "checkpoint-", *kEnd = ".safetensors";
  const int64_t epoch = at_.epoch - 1;
  data::write_safetensors(path((kStem + std::to_string(epoch) + kEnd).c_str()), state());
  for (const auto& entry : std::filesystem::directory_iterator(run_.out)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with(kStem) || !name.ends_with(kEnd)) continue;
    char* end = nullptr;
    const int64_t number = std::strtoll(name.c_str() + strlen(kStem), &end, 10);
    if (std::string(end) == kEnd && number <= epoch - run_.keep_last) std::filesystem::remove(entry.path());
  }
}

void Trainer::save_best(const Accuracy& raw, const std::optional<Accuracy>& averaged) {
  const auto save = [&](const char* file, const nn::NamedTensors& weights) {
    data::write_safetensors(path(file), {.tensors = weights, .metadata = {{kSpecKey, spec_.json().dump()}}});
  };
  if (raw.score() > at_.best) {
    at_.best = raw.score();
    save("best.safetensors", model_->state_dict());
  }
  if (averaged && averaged->score() > at_.best_ema) {
    at_.best_ema = averaged->score();
    const AveragedWeights scope(*model_, *ema_);
    save("best_ema.safetensors", model_->state_dict());
  }
}

void Trainer::restore(const StoredRun& run) {
  const std::string& file = run.file;
  const data::Safetensors& known = run.checkpoint;
  const Json training = metadata_json(known, file, kTrainingKey);
  const auto whole = [&](const char* key) { return whole_number<int64_t>(training.at(key), key); };
  const auto natural = [&](const char* key) { return whole_number<uint64_t>(training.at(key), key); };
  int64_t stored_steps = steps();  // "steps", "waited" and "best_ema" are absent from files of earlier programs
  try {
    model_->load_state_dict(tensors_with_prefix(known, ""));
    optimizer_->load_state_dict(tensors_with_prefix(known, kOptimizerPrefix));
    if (ema_) ema_->load_state_dict(tensors_with_prefix(known, kEmaPrefix));
    at_ = {.epoch = whole("epoch"),
           .step = whole("step"),
           .loss_sum = training.at("loss_sum"),
           .seconds = training.at("seconds"),
           .waited = training.value("waited", 0.0),
           .best = training.at("best"),
           .best_ema = training.value("best_ema", -1.0)};
    rng_ = {.seed = natural("generator_seed"), .offset = natural("generator_offset")};
    loader_rate_ = training.value("loader_rate", 0.0);
    if (training.contains("steps")) stored_steps = whole("steps");
  } catch (const Json::exception& e) {
    throw IoError(format("{}: malformed state of training: {}", file, e.what()));
  } catch (const ValueError& e) {
    throw IoError(format("{}: malformed state of training: {}", file, e.what()));
  } catch (const ShapeError& e) {
    throw IoError(format("{}: {}", file, e.what()));
  }
  check<IoError>(at_.epoch >= 0 && at_.epoch <= config_.epochs && at_.step >= 0 && at_.step <= stored_steps,
                 "{}: epoch {}, step {} is outside the run of {} epochs of {} steps", file, at_.epoch, at_.step,
                 config_.epochs, stored_steps);
  check<UsageError>(at_.step == 0 || stored_steps == steps(),
                    "{}: lies inside an epoch of {} steps, which cannot go on with {}", file, stored_steps, steps());
  // A run that goes on in another folder finds the best of its own.
  if (!std::filesystem::exists(path("best.safetensors"))) at_.best = at_.best_ema = -1;
  log_.restore(std::filesystem::path(file).parent_path(), at_.epoch);
}

}  // namespace vitrine::apps
