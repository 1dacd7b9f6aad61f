#include "data/loader.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <tuple>

#include "data/streams.h"

namespace vitrine::data {
namespace {

/// Images of one batch that draw together, and the number of such groups.
int64_t group_of(const LoaderOptions& options) { return std::min(options.mixing.group, options.batch_size); }
int64_t groups_of(const LoaderOptions& options) { return (options.batch_size - 1) / group_of(options) + 1; }

std::vector<Sample> order_of(const Dataset& dataset, const LoaderOptions& options, int64_t epoch) {
  if (options.repeats > 1)
    return repeated(dataset.size(), epoch, options.repeats, groups_of(options) * options.accumulate, group_of(options));
  std::vector<Sample> order;
  if (options.shuffle)
    for (const int64_t image : shuffled(dataset.size(), options.seed, epoch)) order.push_back({.image = image});
  return order;
}

}  // namespace

struct Epoch::State {
  const Dataset& dataset;
  const LoaderOptions options;
  const PixelTable table;
  const RandomDraw augment, mixing;
  const std::vector<Sample> order;  // empty: as the images come
  int64_t batches;
  int64_t position;  // the batch that next() gives

  // Shared with the workers, under the mutex, like `position` once they run. Batch b waits in slot b % slots.size(); a
  // worker claims a batch only when its slot is free, that is when b < position + slots.size().
  struct Slot {
    std::optional<Batch> batch;
    std::exception_ptr error;
  };
  std::mutex mutex;
  std::condition_variable free_slot, filled_slot;
  std::vector<Slot> slots;
  int64_t claimed;
  double busy = 0;   // seconds that threads took for batches,
  int64_t made = 0;  // and the images in those
  bool stopping = false;
  std::vector<std::thread> workers;

  State(const Dataset& d, const LoaderOptions& o, const PixelTable& t, int64_t epoch, int64_t count, int64_t first)
      : dataset(d),
        options(o),
        table(t),
        augment(draw_of(Stream::augment, o.seed, uint64_t(epoch))),
        mixing(draw_of(Stream::mixing, o.seed, uint64_t(epoch))),
        order(order_of(d, o, epoch)),
        batches(count),
        position(first),
        claimed(first) {
    const int64_t threads = std::min<int64_t>(o.workers, count - first);
    slots.resize(size_t(std::max<int64_t>(o.prefetch, threads)));
    try {
      for (int64_t i = 0; i < threads; ++i) workers.emplace_back([this] { work(); });
    } catch (...) {  // the system has no more threads
      stop();
      throw;
    }
  }
  ~State() { stop(); }

  void stop() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    free_slot.notify_all();
    for (std::thread& w : workers) w.join();
    workers.clear();
  }

  /// The image that stands for number i, and which one it is: itself, or where batches are full and it cannot be read,
  /// the next that can; nothing where they need not be full.
  std::optional<std::pair<Image, int64_t>> read(int64_t i) const {
    for (int64_t k = 0; k < dataset.size(); ++k) {
      const int64_t image = (i + k) % dataset.size();
      try {
        return std::pair{dataset.image(image), image};
      } catch (const BadImage&) {
        if (!options.drop_last) return std::nullopt;
      }
    }
    throw IoError(format("{}: none of the images can be read", dataset.description()));
  }

  /// Batch b, and the seconds it took to make.
  std::pair<Batch, double> make_timed(int64_t b) const {
    const auto start = std::chrono::steady_clock::now();
    Batch batch = make(b);
    return {std::move(batch), std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()};
  }

  /// Batch b; a function of b and what is constant here.
  Batch make(int64_t b) const {
    const PoolScope memory(options.memory);
    const Preprocessing& form = *options.preprocessing;
    const int64_t samples = order.empty() ? dataset.size() : int64_t(order.size());
    const int64_t begin = b * options.batch_size, most = std::min(options.batch_size, samples - begin);
    const int64_t input = 3 * form.height * form.width;
    Batch batch = {.images = empty({most, 3, form.height, form.width}),
                   .targets = empty({most}, {.dtype = Dtype::i64}),
                   .soft_targets = {}};
    const int64_t classes = std::max(options.mixing.classes, dataset.num_classes());
    float* shares = nullptr;
    if (dataset.multi_label()) {
      batch.soft_targets = zeros({most, classes});
      shares = batch.soft_targets.mutable_data<float>();
    }
    float* images = batch.images.mutable_data<float>();
    auto* targets = batch.targets.mutable_data<int64_t>();
    int64_t count = 0;
    for (int64_t i = begin; i < begin + most; ++i) {
      const Sample sample = order.empty() ? Sample{.image = i} : order[size_t(i)];
      const auto found = read(sample.image);
      if (!found) continue;
      Draws draws(augment, sample.image, sample.copy);
      float* out = images + count * input;
      to_planes(data::augment(found->first, options.augment, form, draws), table, out);
      erase(out, form.height, form.width, options.augment.erasing, draws);
      if (shares)
        for (const int64_t c : dataset.classes(found->second)) shares[count * classes + c] = 1;
      targets[count++] = dataset.label(found->second);
    }
    if (count < most) {
      batch.images = batch.images.narrow(0, 0, count), batch.targets = batch.targets.narrow(0, 0, count);
      if (shares) batch.soft_targets = batch.soft_targets.narrow(0, 0, count);
    }
    if (options.mixing.enabled()) mix_groups(b, batch);
    if (options.binary_smoothing) make_binary(batch, classes);
    return batch;
  }

  void make_binary(Batch& batch, int64_t classes) const {
    const int64_t count = batch.targets.numel();
    const bool given = batch.soft_targets.defined();
    if (!given) batch.soft_targets = zeros({count, classes});
    float* shares = batch.soft_targets.mutable_data<float>();
    for (int64_t i = 0; !given && i < count; ++i) shares[i * classes + batch.targets.data<int64_t>()[i]] = 1;
    binary_targets(shares, count, classes, *options.binary_smoothing);
  }

  void mix_groups(int64_t b, Batch& batch) const {
    const Preprocessing& form = *options.preprocessing;
    const int64_t count = batch.images.size(0), classes = options.mixing.classes, group = group_of(options);
    const bool several = batch.soft_targets.defined();
    if (!several) batch.soft_targets = empty({count, classes});
    float *images = batch.images.mutable_data<float>(), *targets = batch.soft_targets.mutable_data<float>();
    const auto* labels = batch.targets.data<int64_t>();
    for (int64_t g = 0; g * group < count; ++g) {
      Draws draws(mixing, b * groups_of(options) + g);
      const int64_t first = g * group;
      const BatchSize size{std::min(group, count - first), form.height, form.width};
      float* const pictures = images + first * 3 * form.height * form.width;
      if (several)
        mix_targets(options.mixing, mix_images(options.mixing, size, pictures, draws), targets + first * classes);
      else
        mix(options.mixing, size, pictures, labels + first, targets + first * classes, draws);
    }
  }

  void work() {
    std::unique_lock lock(mutex);
    while (true) {
      free_slot.wait(lock,
                     [&] { return stopping || claimed == batches || claimed < position + int64_t(slots.size()); });
      if (stopping || claimed == batches) return;
      const int64_t b = claimed++;
      lock.unlock();
      Slot result;
      double seconds = 0;
      try {
        std::tie(result.batch, seconds) = make_timed(b);
      } catch (...) {
        result.error = std::current_exception();
      }
      lock.lock();
      if (result.batch) busy += seconds, made += result.batch->targets.numel();
      slots[size_t(b) % slots.size()] = std::move(result);
      filled_slot.notify_one();
    }
  }

  std::optional<Batch> next() {
    if (workers.empty()) {
      if (position == batches) return std::nullopt;
      auto [batch, seconds] = make_timed(position);
      busy += seconds, made += batch.targets.numel();
      ++position;
      return std::move(batch);
    }
    std::unique_lock lock(mutex);
    if (position == batches) return std::nullopt;
    Slot& slot = slots[size_t(position) % slots.size()];
    filled_slot.wait(lock, [&] { return slot.batch || slot.error; });
    if (slot.error) std::rethrow_exception(slot.error);
    Batch batch = std::move(*slot.batch);
    slot.batch.reset();
    ++position;
    lock.unlock();
    free_slot.notify_all();
    return batch;
  }

  bool ready(int64_t count) {
    const std::lock_guard lock(mutex);
    if (count > std::min(int64_t(slots.size()), batches - position)) return false;
    for (int64_t b = position; b < position + count; ++b)
      if (!slots[size_t(b) % slots.size()].batch) return false;
    return true;
  }

  double rate() {
    const std::lock_guard lock(mutex);
    return busy > 0 ? double(made) / busy * double(std::max<size_t>(workers.size(), 1)) : 0;
  }
};

Epoch::Epoch(std::unique_ptr<State> state) : state_(std::move(state)) {}
Epoch::Epoch(Epoch&&) noexcept = default;
Epoch& Epoch::operator=(Epoch&&) noexcept = default;
Epoch::~Epoch() = default;

std::optional<Batch> Epoch::next() { return state_->next(); }
bool Epoch::ready(int64_t count) const { return state_->ready(count); }
double Epoch::rate() const { return state_->rate(); }
int64_t Epoch::position() const { return state_->position; }  // only next() changes it, on this thread

Loader::Loader(const Dataset& dataset, const LoaderOptions& options)
    : dataset_(&dataset), options_(options), table_(options.preprocessing.value_or(dataset.preprocessing())) {
  const auto require = [](int64_t value, int64_t low, int64_t high, const char* what) {
    check<ValueError>(low <= value && value <= high, "loader: {} is {}; it must be {} to {}", what, value, low, high);
  };
  if (!options_.preprocessing) options_.preprocessing = dataset.preprocessing();
  require(options.batch_size, 1, 1 << 24, "batch_size");
  require(options.workers, 0, 256, "workers");
  require(options.prefetch, 1, 1024, "prefetch");
  require(options.repeats, 1, 255, "repeats");
  require(options.accumulate, 1, 1 << 20, "accumulate");
  check<ValueError>(options.accumulate == 1 || options.drop_last, "loader: accumulate above 1 needs full batches");
  require(dataset.size(), 0, int64_t(1) << 32, "the number of images");
  check<ValueError>(options_.preprocessing->height > 0 && options_.preprocessing->width > 0,
                    "loader: {}: its images differ in size; the size of the input is missing", dataset.description());
  options.augment.check_ranges();
  options.mixing.check_ranges();
  if (options.mixing.enabled())
    check<ValueError>(
        options.batch_size % 2 == 0 && options.drop_last && options.mixing.classes >= dataset.num_classes(),
        "loader: mixing pairs images; it needs full batches of an even size, got {}, and the {} classes "
        "of the data, got {}",
        options.batch_size, dataset.num_classes(), options.mixing.classes);
  check<ValueError>(!options.binary_smoothing || (*options.binary_smoothing >= 0 && *options.binary_smoothing <= 1 &&
                                                  options.mixing.label_smoothing == 0),
                    "loader: binary_smoothing must be 0 to 1, and the only smoothing");
  check<ValueError>(options.repeats == 1 || options.batch_size % group_of(options) == 0,
                    "loader: batches of {} images cannot be dealt to processes of {}; choose another mixing.group",
                    options.batch_size, group_of(options));
}

int64_t Loader::batches() const {
  const int64_t n = dataset_->size(), b = options_.batch_size;
  const int64_t k = options_.accumulate;
  if (options_.repeats > 1) return repeated_batches(n, groups_of(options_) * k, group_of(options_)) * k;
  return options_.drop_last ? n / (b * k) * k : (n + b - 1) / b;
}

Epoch Loader::epoch(int64_t epoch, int64_t first) const {
  check<ValueError>(epoch >= 0, "loader: there is no epoch {}", epoch);
  check<ValueError>(first >= 0 && first <= batches(), "loader: an epoch of {} batches cannot start at batch {}",
                    batches(), first);
  return Epoch(std::make_unique<Epoch::State>(*dataset_, options_, table_, epoch, batches(), first));
}

}  // namespace vitrine::data
