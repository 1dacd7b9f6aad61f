#include "data/loader.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <numeric>
#include <thread>

#include "data/streams.h"

namespace vitrine::data {
namespace {

/// Where an augmented image takes its pixels from.
struct Placement {
  bool flip = false;
  int64_t dy = 0, dx = 0;  // of the image in its frame, each in [-pad_crop, pad_crop]
};

/// One Philox block per image and epoch.
Placement place(const Augmentation& augment, const RandomDraw& draw, int64_t image) {
  const Philox random(draw.seed, draw.offset, uint64_t(image));
  const int64_t places = 2 * augment.pad_crop + 1;
  return {.flip = augment.flip && random.word[0] >> 31,
          .dy = below(random.word[1], places) - augment.pad_crop,
          .dx = below(random.word[2], places) - augment.pad_crop};
}

/// out[y, x] = table[pixels[y + dy, x + dx]], black outside, then mirrored.
void convert_plane(const uint8_t* pixels, const float* table, int64_t height, int64_t width, const Placement& p,
                   float* out) {
  const int64_t begin = std::clamp<int64_t>(-p.dx, 0, width), end = std::clamp<int64_t>(width - p.dx, begin, width);
  for (int64_t y = 0; y < height; ++y) {
    float* row = out + y * width;
    if (y + p.dy < 0 || y + p.dy >= height) {
      std::fill_n(row, width, table[0]);
      continue;
    }
    const uint8_t* source = pixels + (y + p.dy) * width;
    std::fill(row, row + begin, table[0]);
    for (int64_t x = begin; x < end; ++x) row[x] = table[source[x + p.dx]];
    std::fill(row + end, row + width, table[0]);
    if (p.flip) std::reverse(row, row + width);
  }
}

}  // namespace

std::vector<int64_t> shuffled(int64_t n, uint64_t seed, int64_t epoch) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  const RandomDraw draw = draw_of(Stream::shuffle, seed, uint64_t(epoch));
  for (int64_t i = n - 1; i > 0; --i) std::swap(order[size_t(i)], order[size_t(below(draw.bits(i), i + 1))]);
  return order;
}

struct Epoch::State {
  const Dataset& dataset;
  const LoaderOptions options;
  const PixelTable table;
  const RandomDraw augment;
  std::vector<int64_t> order;  // of the images; empty: as they come
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
  bool stopping = false;
  std::vector<std::thread> workers;

  State(const Dataset& d, const LoaderOptions& o, const PixelTable& t, int64_t epoch, int64_t count, int64_t first)
      : dataset(d),
        options(o),
        table(t),
        augment(draw_of(Stream::augment, o.seed, uint64_t(epoch))),
        batches(count),
        position(first),
        claimed(first) {
    if (o.shuffle) order = shuffled(d.size(), o.seed, epoch);
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

  /// Batch b; a function of b and what is constant here.
  Batch make(int64_t b, std::vector<uint8_t>& scratch) const {
    const Preprocessing& form = dataset.preprocessing();
    const int64_t begin = b * options.batch_size, count = std::min(options.batch_size, dataset.size() - begin);
    const int64_t plane = form.height * form.width;
    Batch batch = {.images = empty({count, 3, form.height, form.width}),
                   .targets = empty({count}, {.dtype = Dtype::i64})};
    float* images = batch.images.mutable_data<float>();
    auto* targets = batch.targets.mutable_data<int64_t>();
    scratch.resize(size_t(3 * plane));
    for (int64_t i = 0; i < count; ++i) {
      const int64_t image = order.empty() ? begin + i : order[size_t(begin + i)];
      targets[i] = dataset.label(image);
      dataset.pixels(image, scratch.data());
      const Placement placement = place(options.augment, augment, image);
      for (int64_t c = 0; c < 3; ++c)
        convert_plane(scratch.data() + c * plane, table.channel(c), form.height, form.width, placement,
                      images + (3 * i + c) * plane);
    }
    return batch;
  }

  void work() {
    std::vector<uint8_t> scratch;
    std::unique_lock lock(mutex);
    while (true) {
      free_slot.wait(lock,
                     [&] { return stopping || claimed == batches || claimed < position + int64_t(slots.size()); });
      if (stopping || claimed == batches) return;
      const int64_t b = claimed++;
      lock.unlock();
      Slot result;
      try {
        result.batch = make(b, scratch);
      } catch (...) {
        result.error = std::current_exception();
      }
      lock.lock();
      slots[size_t(b) % slots.size()] = std::move(result);
      filled_slot.notify_one();
    }
  }

  std::optional<Batch> next() {
    if (workers.empty()) {
      if (position == batches) return std::nullopt;
      std::vector<uint8_t> scratch;
      Batch batch = make(position, scratch);
      ++position;
      return batch;
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
};

Epoch::Epoch(std::unique_ptr<State> state) : state_(std::move(state)) {}
Epoch::Epoch(Epoch&&) noexcept = default;
Epoch& Epoch::operator=(Epoch&&) noexcept = default;
Epoch::~Epoch() = default;

std::optional<Batch> Epoch::next() { return state_->next(); }
int64_t Epoch::position() const { return state_->position; }  // only next() changes it, on this thread

Loader::Loader(const Dataset& dataset, const LoaderOptions& options)
    : dataset_(&dataset), options_(options), table_(dataset.preprocessing()) {
  const auto require = [](int64_t value, int64_t low, int64_t high, const char* what) {
    check<ValueError>(low <= value && value <= high, "loader: {} is {}; it must be {} to {}", what, value, low, high);
  };
  require(options.batch_size, 1, 1 << 24, "batch_size");
  require(options.workers, 0, 256, "workers");
  require(options.prefetch, 1, 1024, "prefetch");
  require(options.augment.pad_crop, 0, 4096, "pad_crop");
  require(dataset.size(), 0, int64_t(1) << 32, "the number of images");
}

int64_t Loader::batches() const {
  const int64_t n = dataset_->size(), b = options_.batch_size;
  return options_.drop_last ? n / b : (n + b - 1) / b;
}

Epoch Loader::epoch(int64_t epoch, int64_t first) const {
  check<ValueError>(epoch >= 0, "loader: there is no epoch {}", epoch);
  check<ValueError>(first >= 0 && first <= batches(), "loader: an epoch of {} batches cannot start at batch {}",
                    batches(), first);
  return Epoch(std::make_unique<Epoch::State>(*dataset_, options_, table_, epoch, batches(), first));
}

}  // namespace vitrine::data
