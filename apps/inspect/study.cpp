#include "apps/inspect/study.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <numeric>

#include "core/allocator.h"
#include "core/autograd.h"
#include "core/backend.h"
#include "ops/softmax/softmax.h"

namespace vitrine::apps {
namespace {

using Clock = std::chrono::steady_clock;

void collect(const nn::Module& module, std::map<std::string, const nn::Attention*>& found) {
  if (const auto* attention = dynamic_cast<const nn::Attention*>(&module)) found[module.path()] = attention;
  for (const nn::Module* child : module.children()) collect(*child, found);
}

double norm_of(const Tensor& t) {
  if (!t.defined()) return 0;
  double sum = 0;
  for (const double x : t.to_vector()) sum += x * x;
  return std::sqrt(sum);
}

StreamRow stream_row(const std::string& path, const std::string& place, const Tensor& value) {
  const std::vector<double> x = value.to_vector();
  StreamRow row{.path = path, .place = place};
  for (const double v : x) row.mean += v, row.largest = std::max(row.largest, std::abs(v));
  row.mean /= double(x.size());
  for (const double v : x) row.std += (v - row.mean) * (v - row.mean);
  row.std = std::sqrt(row.std / double(x.size()));
  return row;
}

/// Takes what it is shown, and packs it at once: the maps of one layer alone may be large.
class MapWatcher final : public trace::Watcher {
 public:
  MapWatcher(const models::Classifier& model, const std::vector<int64_t>& queries, Study& study)
      : queries_(queries), study_(study) {
    collect(model, layers_);
  }

  bool wants(const std::string& full_name) override {
    const auto [path, label] = split(full_name);
    if (label == "stream" || label == "attended") return true;
    if (label != "probabilities" && label != "content" && label != "rpe") return false;
    const auto layer = layers_.find(path);
    return layer != layers_.end() && layer->second->config.grid.tokens() == study_.grid.tokens();
  }

  void see(const std::string& full_name, const Tensor& value) override {
    const auto [path, label] = split(full_name);
    if (label == "stream" || label == "attended") {
      study_.streams.push_back(stream_row(path, label == "stream" ? "before attention" : "before MLP", value));
      return;
    }
    if (study_.attention.empty() || study_.attention.back().path != path) study_.attention.push_back({.path = path});
    AttentionStudy& layer = study_.attention.back();
    const int64_t tokens = study_.grid.tokens();
    layer.heads = layers_.at(path)->config.heads;
    const std::vector<double> all = value.expand({1, layer.heads, tokens, tokens}).to_vector();
    pack(all, label != "probabilities",
         label == "content" ? layer.content
         : label == "rpe"   ? layer.rpe
                            : layer.probabilities);
    if (label == "content") content_ = all;
    if (label == "rpe") {
      const size_t pairs = size_t(tokens * tokens);
      for (size_t h = 0; h < size_t(layer.heads); ++h)
        layer.share.push_back(
            rpe_share(std::span(content_).subspan(h * pairs, pairs), std::span(all).subspan(h * pairs, pairs)));
    }
  }

 private:
  static std::pair<std::string, std::string> split(const std::string& full_name) {
    const size_t dot = full_name.rfind('.');
    if (dot == std::string::npos) return {"", full_name};
    return {full_name.substr(0, dot), full_name.substr(dot + 1)};
  }
  void pack(const std::vector<double>& all, bool is_signed, PackedRows& rows) const {
    const int64_t tokens = study_.grid.tokens(), heads = int64_t(all.size()) / (tokens * tokens);
    for (int64_t h = 0; h < heads; ++h)
      for (const int64_t q : queries_)
        rows.add(std::span(all).subspan(size_t((h * tokens + q) * tokens), size_t(tokens)), is_signed);
  }

  const std::vector<int64_t>& queries_;
  Study& study_;
  std::map<std::string, const nn::Attention*> layers_;
  std::vector<double> content_;  ///< of the layer that is running
};

/// Notes how many bytes are live at the end of each module, and when backward comes back to it. Its hooks stay with the
/// model, and do nothing when nobody listens.
class MemoryLog {
 public:
  MemoryLog(nn::Module& root, Device device) : state_(std::make_shared<State>(State{device})) { attach(root, state_); }
  void listen(TapeStudy* tape, Clock::time_point start) { state_->tape = tape, state_->start = start; }
  void note() const { state_->note(); }

 private:
  struct State {
    Device device;
    TapeStudy* tape = nullptr;
    Clock::time_point start = {};
    void note() const {
      if (!tape) return;
      const double us = std::chrono::duration<double, std::micro>(Clock::now() - start).count();
      tape->memory.push_back({us, allocator(device).stats().live_bytes});
    }
  };
  static void attach(nn::Module& module, const std::shared_ptr<State>& state) {
    module.register_forward_hook([state](const nn::Module&, const Tensor& output) {
      state->note();
      const auto on_gradient = [state](const Tensor&) { return state->note(), Tensor(); };
      if (state->tape && output.requires_grad()) output.register_hook(on_gradient);
      return Tensor();
    });
    for (nn::Module* child : module.children()) attach(*child, state);
  }
  std::shared_ptr<State> state_;
};

/// The ops that no other op called; kernels are called by ops. Events come in the order in which they end.
std::vector<trace::Event> outermost(std::span<const trace::Event> events) {
  std::vector<trace::Event> kept;
  for (const trace::Event& e : events) {
    if (e.kind == trace::Event::Kind::kernel) continue;
    while (!kept.empty() && kept.back().start_us >= e.start_us) kept.pop_back();
    kept.push_back(e);
  }
  return kept;
}

/// One pass forward, and backward from logit `target`.
TapeStudy run_tape(models::Classifier& model, const Tensor& input, int64_t target, MemoryLog& memory) {
  const Device device = input.device();
  TapeStudy tape;
  model.zero_grad();
  synchronize(device);
  Allocator& memory_of = allocator(device);
  memory_of.reset_peak();
  tape.start_bytes = memory_of.stats().live_bytes;
  const auto start = Clock::now();
  const auto now = [&] { return std::chrono::duration<double, std::micro>(Clock::now() - start).count(); };
  const trace::Recorder recorder;
  size_t ops_forward = 0;
  memory.listen(&tape, start);
  memory.note();
  {
    const Tensor logit = model.logits(input).select(0, 0).select(0, target);
    synchronize(device);
    tape.forward_us = now();
    ops_forward = recorder.events().size();
    logit.backward();
  }
  synchronize(device);
  tape.backward_us = now() - tape.forward_us;
  memory.note();
  memory.listen(nullptr, start);
  tape.peak_bytes = memory_of.stats().peak_bytes;
  const std::span<const trace::Event> events(recorder.events());
  tape.forward = outermost(events.first(ops_forward)), tape.backward = outermost(events.subspan(ops_forward));
  return tape;
}

std::vector<Guess> best_classes(models::Classifier& model, const Tensor& input) {
  constexpr size_t kMost = 5;
  const NoGrad no_grad;
  const std::vector<double> p = ops::softmax(model.logits(input).to(Dtype::f32), -1).to_vector();
  std::vector<int64_t> order(p.size());
  std::iota(order.begin(), order.end(), int64_t(0));
  // A NaN, from weights that diverged, comes last: an order that is not one would be undefined behaviour.
  const auto key = [&](int64_t i) { return std::isnan(p[size_t(i)]) ? -1 : p[size_t(i)]; };
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return key(a) > key(b); });
  std::vector<Guess> top;
  for (const int64_t i : order)
    if (top.size() < kMost) top.push_back({i, p[size_t(i)]});
  return top;
}

}  // namespace

Study study_classifier(models::Classifier& model, const Tensor& input, int64_t map_budget) {
  constexpr int kRuns = 5;
  Study study;
  study.grid = model.grid();
  study.top = best_classes(model, input);
  MemoryLog memory(model, input.device());
  for (int run = 0; run <= kRuns; ++run) {  // the first one warms up
    TapeStudy tape = run_tape(model, input, study.top[0].index, memory);
    const auto total = [](const TapeStudy& t) { return t.forward_us + t.backward_us; };
    if (run == 1 || (run > 1 && total(tape) < total(study.tape))) study.tape = std::move(tape);
  }
  for (const auto& [name, p] : model.parameters())
    study.parameters.push_back({name, p.shape(), norm_of(p), norm_of(p.grad())});
  model.zero_grad();

  std::map<std::string, const nn::Attention*> layers;
  collect(model, layers);
  int64_t heads = 0, terms = 2;
  for (const auto& [path, layer] : layers) {
    heads += layer->config.heads;
    if (layer->config.rpe) study.rpe = layer->config.rpe, terms = 3;
  }
  study.queries = chosen_queries(study.grid, heads * terms * study.grid.tokens(), map_budget);
  MapWatcher watcher(model, study.queries, study);
  const NoGrad no_grad;
  trace::Watcher* previous = trace::set_watcher(&watcher);
  try {
    (void)model.logits(input);
  } catch (...) {
    trace::set_watcher(previous);
    throw;
  }
  trace::set_watcher(previous);
  return study;
}

}  // namespace vitrine::apps
