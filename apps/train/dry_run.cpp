#include "apps/train/dry_run.h"

#include <sys/resource.h>

#include <chrono>
#include <iostream>

#include "apps/classifier/progress.h"
#include "core/allocator.h"

namespace vitrine::apps {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr double kSeconds = 3;       ///< for each thing that is measured
constexpr int64_t kSteps = 100;      ///< at most, for those that are fast
constexpr double kNoticeable = 0.1;  ///< part of the time: a loader that is waited for as long holds training up

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Images a second of batches that nobody else works beside.
double rate_alone(const data::Loader& loader) {
  data::Epoch batches = loader.epoch(0);
  const Clock::time_point start = Clock::now();
  int64_t count = 0;
  while (count < kSteps && (count == 0 || seconds_since(start) < kSeconds) && batches.next()) ++count;
  return double(count * loader.options().batch_size) / seconds_since(start);
}

int64_t bytes_of(const nn::NamedTensors& tensors) {
  int64_t bytes = 0;
  for (const auto& [name, t] : tensors) bytes += t.numel() * size_of(t.dtype());
  return bytes;
}

int64_t process_peak() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t(usage.ru_maxrss) * 1024;  // Linux counts it in KiB
}

std::string size_text(const Json& bytes) {
  const double mib = double(bytes) / (1 << 20);
  return mib < 1024 ? significant(mib) + " MiB" : significant(mib / 1024) + " GiB";
}

}  // namespace

Json Trainer::estimate() {
  model_->train(config_.train_mode);
  const double loader_alone = rate_alone(loader_);
  data::Epoch batches = loader_.epoch(0);
  Allocator& memory = allocator(run_.device);
  int64_t taken = -graph_.first_steps();  // these are not timed: they make what later ones find made
  double waited = 0;
  Clock::time_point start;
  for (; taken < 1 || (taken < kSteps && seconds_since(start) < kSeconds); ++taken) {
    if (taken == 0) memory.reset_peak(), waited = 0, start = Clock::now();
    const Clock::time_point asked = Clock::now();
    std::vector<data::Batch> parts = next_step(batches);
    if (parts.empty()) batches = loader_.epoch(0), parts = next_step(batches);
    waited += seconds_since(asked);
    step(parts);
  }
  std::cerr << graph_.take_news();
  const double elapsed = seconds_since(start), step_seconds = elapsed / double(taken);
  const int64_t step_peak = memory.stats().peak_bytes;

  const Clock::time_point test_start = Clock::now();
  const Accuracy tested = test([&](int64_t) { return seconds_since(test_start) < kSeconds; });
  const double test_seconds = double(test_->size()) / tested.images_per_s * (ema_ ? 2 : 1);

  const data::Safetensors checkpoint = state();
  const int64_t file = bytes_of(checkpoint.tensors), weights = bytes_of(model_->state_dict());
  const double train_seconds = step_seconds * double(steps());
  const double batch_size = double(config_.effective_batch()), waiting = waited / elapsed;
  const int64_t epochs = config_.epochs - at_.epoch;
  return {{"parameters", model_->parameter_count()},
          {"parameter_groups", parameter_groups()},
          {"effective_batch", config_.effective_batch()},
          {"learning_rate", config_.peak_lr()},
          {"epochs", epochs},
          {"steps_per_epoch", steps()},
          {"step_seconds", step_seconds},
          {"images_per_s", batch_size / step_seconds},
          {"loader_images_per_s", loader_alone},
          {"waiting_for_loader", waiting},
          {"loader_is_bottleneck", waiting > kNoticeable},
          {"train_seconds_per_epoch", train_seconds},
          {"test_seconds_per_epoch", test_seconds},
          {"seconds_per_epoch", train_seconds + test_seconds},
          {"total_seconds", (train_seconds + test_seconds) * double(epochs)},
          {"step_peak_bytes", step_peak},
          {"process_peak_bytes", process_peak()},
          {"checkpoint_bytes", file},
          // While one is written, the one that it replaces is still there.
          {"disk_bytes", file * (2 + run_.keep_last) + weights * (ema_ ? 2 : 1)}};
}

std::string estimate_text(const Json& found) {
  const auto number = [&](const char* key) { return double(found[key]); };
  const auto time = [&](const char* key) { return duration_text(number(key)); };
  return format("an epoch: {} steps of {} s, {}, and {} of evaluation\n", found["steps_per_epoch"].dump(),
                significant(number("step_seconds")), time("train_seconds_per_epoch"), time("test_seconds_per_epoch")) +
         format("{} epochs: about {}\n", found["epochs"].dump(), time("total_seconds")) +
         format(
             "training: {} images/s; the loader alone: {} images/s; it is {}the bottleneck, {} % of the time "
             "waits for it\n",
             significant(number("images_per_s")), significant(number("loader_images_per_s")),
             found["loader_is_bottleneck"] ? "" : "not ", significant(100 * number("waiting_for_loader"), 2)) +
         format("memory: {} in a step, {} of the process at its peak\n", size_text(found["step_peak_bytes"]),
                size_text(found["process_peak_bytes"])) +
         format("disk: {} a checkpoint, {} in all\n", size_text(found["checkpoint_bytes"]),
                size_text(found["disk_bytes"]));
}

}  // namespace vitrine::apps
