<?php

declare(strict_types=1);

namespace App\Providers;

use Errands\Client;
use Errands\ClientInterface;
use Errands\Webhook;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Route;
use Illuminate\Support\ServiceProvider;

final class AppServiceProvider extends ServiceProvider
{
    public function register(): void
    {
        // {{ the README's first snippet }}
    }

    public function boot(): void
    {
        DB::statement('CREATE TABLE IF NOT EXISTS callbacks (id TEXT PRIMARY KEY)');
        DB::statement('CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, errand_id TEXT UNIQUE, outcome TEXT)');
        Route::group([], $this->app->basePath('routes/api.php'));
    }
}
