#include <algorithm>
#include <filesystem>

#include "core/error.h"
#include "data/datasets/folder.h"
#include "data/datasets/formats.h"
#include "data/datasets/picture_files.h"

namespace vitrine::data {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostImages = 100'000'000;
constexpr int kDeepest = 32;  // folders in folders; a link may lead round in a circle

/// The names in a folder that do not begin with a dot, sorted by their bytes: folders, or everything else.
std::vector<std::string> names_in(const fs::path& folder, bool folders) {
  std::vector<std::string> names;
  try {
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      std::string name = entry.path().filename().string();
      if (name[0] != '.' && entry.is_directory() == folders) names.push_back(std::move(name));
    }
  } catch (const fs::filesystem_error& e) {
    throw IoError(format("{}: {}", folder.string(), e.code().message()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool is_picture(const std::string& name) {
  static const std::vector<std::string> known = {".jpg", ".jpeg", ".png",  ".bmp", ".ppm",
                                                 ".pgm", ".tif",  ".tiff", ".webp"};
  std::string ending = fs::path(name).extension().string();
  for (char& c : ending) c = char(std::tolower(static_cast<unsigned char>(c)));
  return std::find(known.begin(), known.end(), ending) != known.end();
}

/// Appends {folder, file} of every picture below.
void walk(const fs::path& folder, int depth, std::vector<std::pair<std::string, std::string>>& out) {
  check<IoError>(depth <= kDeepest, "{}: more than {} folders deep", folder.string(), kDeepest);
  for (std::string& name : names_in(folder, false))
    if (is_picture(name)) out.emplace_back(folder.string(), std::move(name));
  check<IoError>(out.size() <= kMostImages, "{}: more than {} images", folder.string(), kMostImages);
  for (const std::string& name : names_in(folder, true)) walk(folder / name, depth + 1, out);
}

std::vector<std::string> classes_of(const fs::path& folder) {
  std::vector<std::string> classes = names_in(folder, true);
  check<IoError>(!classes.empty(), "{}: has no folders; images belong in {}/CLASS/", folder.string(), folder.string());
  return classes;
}

class ImageFolder final : public Dataset {
 public:
  /// @param there  those of the classes that have a folder here
  ImageFolder(const fs::path& root, std::vector<std::string> classes, const std::vector<std::string>& there,
              Split split)
      : root_(root.string()), classes_(std::move(classes)) {
    for (size_t c = 0; c < classes_.size(); ++c) {
      if (!std::binary_search(there.begin(), there.end(), classes_[c])) {
        note_absent(c);
        continue;
      }
      std::vector<std::pair<std::string, std::string>> found;
      walk(root / classes_[c], 0, found);
      check<IoError>(!found.empty(),
                     "{}: has no images; add some whose names end in .jpg, .png, .bmp, .ppm or .pgm, or remove the "
                     "folder",
                     (root / classes_[c]).string());
      std::sort(found.begin(), found.end());  // "a", "a-b", "a/b": as strings, not as paths
      for (const auto& [folder, name] : found) files_.push_back({int32_t(c), folder.substr(root_.size()) + "/" + name});
    }
    if (absent_ > 0)
      note_ =
          format("{}: has no folder for {} of the {} classes: {}; their numbers stay, and accuracy is over the others",
                 root_, absent_, classes_.size(), note_);
    description_ = format("image folder, {}: {} images of {} classes, from {}", split, files_.size(),
                          classes_.size() - absent_, root_);
  }

  int64_t size() const override { return int64_t(files_.size()); }
  const std::vector<std::string>& labels() const override { return classes_; }
  const Preprocessing& preprocessing() const override { return preprocessing_; }
  int64_t label(int64_t i) const override { return files_[size_t(i)].label; }
  std::string description() const override { return description_; }
  std::string note() const override { return note_; }

  Image image(int64_t i) const override { return pictures_.read(i, root_ + files_[size_t(i)].name); }
  std::vector<std::string> bad_images(size_t told) const override { return pictures_.bad_images(told); }

 private:
  void note_absent(size_t c) {
    constexpr size_t kNamed = 10;
    if (++absent_ <= kNamed) note_ += (note_.empty() ? "'" : ", '") + classes_[c] + "'";
    if (absent_ == kNamed + 1) note_ += " and more";
  }

  struct File {
    int32_t label;
    std::string name;  // behind root_, with its slash
  };
  const std::string root_;
  const std::vector<std::string> classes_;
  std::vector<File> files_;
  std::string description_, note_;
  size_t absent_ = 0;
  const Preprocessing preprocessing_ = imagenet_preprocessing();
  const PictureFiles pictures_;
};

}  // namespace

std::unique_ptr<Dataset> open_imagefolder(const std::string& folder, Split split) {
  const fs::path root = fs::path(folder), train = root / "train", val = root / "val";
  const fs::path& wanted = split == Split::train ? train : val;
  require_folder(root);
  require_folder(wanted, format("; images belong in {}/train/CLASS/ and {}/val/CLASS/", root.string(), root.string()));
  const std::vector<std::string> there = classes_of(wanted);
  std::error_code error;
  if (split == Split::train || !fs::is_directory(train, error))
    return std::make_unique<ImageFolder>(wanted, there, there, split);
  const std::vector<std::string> classes = classes_of(train);
  for (const std::string& name : there)
    check<IoError>(std::binary_search(classes.begin(), classes.end(), name),
                   "{}: has no folder for the class '{}' of {}", train.string(), name, val.string());
  return std::make_unique<ImageFolder>(wanted, classes, there, split);
}

}  // namespace vitrine::data
