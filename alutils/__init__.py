"""Active learning by committee for digits and street scenes.

Importing this package only defines names: it reads no file, starts no thread and loads no model.

The house, from the ground up. A room imports from the ground floor and from rooms above it in this list.

ground floor            what everything stands on
    errors              the errors that a user can cause, in one short line each
    paths               where data, results, caches and figures lie
    seeds               one seed per purpose
    limits              the limit on memory, named where a failure may come from it
    yaml_text           YAML that people write, read within limits
    files               files written whole, files built once, locks, the YAML that people write
    progress            bars, and how far a run is
    processes           work that several processes do at once
    web_page            a web page in one file
    contents            hashes of files' contents, remembered; folders whose files are as they were built
    provenance          versions, code, device, memory and time of a run

datasets                images and labels as arrays, by index
    base                what a data set is
    digits              scikit-learn's digits, MNIST, Fashion-MNIST
    listing             the files of a folder, and names that a run can bear
    decoding            image files, decoded by stated rules
    labels              label files, decoded into classes by value or by colour
    duplicates          photographs that show one view
    description         the keys of a YAML file that describes a folder of images
    folder              a folder of images and labels, described by a YAML file; CamVid, nuclei
    nuclei              the nuclei of the 2018 Data Science Bowl, made from their download
    cityscapes          Cityscapes, and the drawn scenes in its layout
    streets             street scenes that the project draws
    cache               scenes decoded once, memory-mapped
    features            maps of a frozen encoder, made once, memory-mapped

models                  networks split in encode and decode
    base                what every network is
    weights             pretrained weights of encoders, checked before they are read
    encoders            pretrained encoders of timm, by name
    mnist_cnn           the thesis's network for digits
    unet                U-Nets: a small one for CPUs, and one with the thesis's VGG19 encoder
    deeplabv3           DeepLabV3 on a ResNet, and a small one for CPUs
    frozen              networks on the maps of a frozen encoder
    sparse              the same at labelled pixels only

training                a recipe and labelled images give a trained network
    recipe              how a network is trained
    memory              freed memory is kept for the next step
    feeding             batches on the device, gathered ahead of use
    augmentation        random changes to whole batches
    metrics             accuracy and intersection over union
    optimizer           Adam, without loading the compiler
    loop                a network trained and tested
    predictions         predictions as files

queries                 what to label next
    parts               the typed parts of a query, and the table of modifiers
    own                 a query from a file of one's own
    query               the registry, the typed query and its text form
    committee           networks that are asked together, and means over them
    scores              how much a label would teach, from a committee's means
    reductions          one score per image from the scores of its pixels
    regions             windows and superpixels instead of whole images
    diversity           greedy k-center and k-means++, exact
    embeddings          vectors that are close for images that look alike
    selections          a batch from scores, chance and likeness
    scoring             scores of a pool, and one image's maps

runs                    rounds, saved and resumed
    schemas             what the files of a run hold, checked whenever they are read
    folder              the files of a run
    config              what a run is asked to do
    data                the data of a run, checked against its network
    first_round         the first round that all queries of a seed share, made once
    networks            the networks of a run, trained with checkpoints
    pool                which images or regions are labelled, since which round
    acquisition         the pool and the rows of acquisitions.csv
    kept                the networks of a run's rounds, kept and asked again
    sharding            one pool scored by several processes
    rounds              active learning: train, test, score, choose, label, save
    bulk                one training on a share of an order

results                 tables to numbers, pictures, pages
    tables              the tables of an experiment
    maps                one scene's score maps, as they are stored
    significance        areas, intervals, tests
    clips               the test set in clips: scores of sequences, intervals over clips
    analysis            means over seeds, gains over random
    acquired            what queries acquired
    publish             an experiment's tables, copied into the repository
    thesis              the thesis's result figures, in numbers
    comparison          queries compared
    comparison_text     what a comparison says, in words
    figures             from tables and arrays to pictures
    report              scores and gains, in the lines that a grid ends with
    pages               tables in README and docs/

grid                    many runs
    gpus                which GPU a run may use
    notebooks           what is known of each notebook, in one table
    parameters          a notebook's parameters, checked
    kernel              what a notebook runs in, and how it ended
    notebook            one notebook run
    preset              the jobs of a grid
    state               where each job is, and why it would run
    snakemake           a grid run by Snakemake

explorer                what a finished run chose, image by image
    opened              a finished run, and its networks asked about one image
    ranking             which images of a round, in which order
    pictures            photo, label, prediction and disagreement, drawn in milliseconds
    curve               learning curves on which a round is marked
    words               what is said beside the pictures
    screen              the one screen, without widgets
    newest              work in a thread, for the newest wish only
    widget              the one screen, as widgets
    live                how far a grid is, in a cell
    page                a page to send: what was found, and what was chosen
    example             two small runs to look at

labelling               a person's own photographs
    sheet               contact sheets
    check               everything that is wrong with a folder, and what is in it
    draft               a first YAML file for a folder, by looking
    photos              photographs as a pool, with the labels so far
    heads               a cross-validation committee of heads, trained in seconds
    choose              which photographs or regions to label next
    stopping            whether the last labels helped
    shapes              shapes that people draw, and the classes of pixels that they make
    cvat                CVAT's formats
    label_studio        Label Studio's format
    page                the page of a batch
    batch               a batch as a folder for annotation tools
    next_batch          what to label next, from a YAML file to a folder
    exports             what an annotation tool exported, opened with care
    reading             labels back from an annotation tool
    rehearsal           an afternoon of labelling, with hidden labels in the person's place
"""

__version__ = "0.1.0"
