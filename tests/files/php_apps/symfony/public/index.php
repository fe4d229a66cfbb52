<?php

declare(strict_types=1);

use App\Kernel;
use Symfony\Component\HttpFoundation\Request;

require 'Symfony/Bundle/FrameworkBundle/autoload.php'; // Debian's, on PHP's include_path
require 'Symfony/Component/Yaml/autoload.php';
require getenv('ERRANDS_CLIENT') . '/autoload.php';
spl_autoload_register(static function (string $class): void {
    if (str_starts_with($class, 'App\\')) {
        require dirname(__DIR__) . '/src/' . substr($class, 4) . '.php';
    }
});

$kernel = new Kernel('prod', false);
$request = Request::createFromGlobals();
$response = $kernel->handle($request);
$response->send();
$kernel->terminate($request, $response);
